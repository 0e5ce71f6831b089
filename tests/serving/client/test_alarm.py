"""The columns `suspicion` and `alarm` of predictions.csv, and --alarm of bin/purify."""

import csv

import numpy as np
import pytest

from tests.serving.client.counting_model import CountingModel, write_image
from tfdefense.errors import UserError
from tfdefense.serving.client.output_checks import OutputRules
from tfdefense.serving.client.predictions_file import FILE


class SuspiciousModel(CountingModel):
    """Model whose suspicion is the brightness of an image in steps of 0.01, up to 1."""

    has_suspicion = True

    def predict(self, signature, values):
        outputs = super().predict(signature, values)
        brightness = 255 * (1 - outputs["purified"][:, 0, 0, 0])
        return outputs | {"suspicion": np.float32(brightness.round() / 100)}


@pytest.fixture
def places(tmp_path):
    """Images of suspicion 0, 0.9, 0.99 and 1, and the target."""
    for value in (0, 90, 99, 100):
        write_image(tmp_path / "in" / f"{value}.png", value)
    return tmp_path / "in", tmp_path / "out"


def read_columns(places):
    """Return file -> (suspicion, alarm)."""
    with (places[1] / FILE).open() as file:
        return {row["file"]: (row["suspicion"], row["alarm"]) for row in csv.DictReader(file)}


@pytest.mark.parametrize(
    ("alarm", "marked"), [("0.99", "0011"), ("0.9", "0111"), ("1", "0001"), ("1e-9", "0111")]
)
def test_lines_at_or_above_the_alarm_are_marked_and_counted(run, places, capsys, alarm, marked):
    assert run(SuspiciousModel(), f"--alarm={alarm}") == 0
    found = read_columns(places)
    assert [found[f"{value}.png"][0] for value in (0, 90, 99, 100)] == ["0", "0.9", "0.99", "1"]
    assert "".join(found[f"{value}.png"][1] for value in (0, 90, 99, 100)) == marked
    last = capsys.readouterr().out.splitlines()[-1]
    count = marked.count("1")
    expected = f"{count} of 4 images: suspicion {float(alarm):g} or more"
    assert last.split(maxsplit=1) == ["Alarm", expected]


def test_the_alarm_of_a_resumed_run_marks_all_lines(run, places, capsys):
    assert run(SuspiciousModel()) == 0
    assert "Alarm" not in capsys.readouterr().out
    assert set(read_columns(places).values()) == {("0", ""), ("0.9", ""), ("0.99", ""), ("1", "")}
    model = SuspiciousModel()
    write_image(places[0] / "new.png", 95)
    assert run(model, "--alarm=0.95") == 0
    assert model.answered == 1
    assert read_columns(places)["99.png"] == ("0.99", "1")
    assert (
        capsys.readouterr().out.splitlines()[-1].endswith("3 of 5 images: suspicion 0.95 or more")
    )
    assert run(model) == 0
    assert {alarm for _, alarm in read_columns(places).values()} == {""}


def test_a_run_with_bad_files_counts_too(run, places, capsys):
    (places[0] / "cut.png").write_bytes(b"")
    assert run(SuspiciousModel(), "--alarm=0.99") == 1
    assert (
        capsys.readouterr().out.splitlines()[-1].endswith("2 of 4 images: suspicion 0.99 or more")
    )


@pytest.mark.parametrize("text", ["x", "nan", "-1", "1e9"])
def test_a_line_with_a_damaged_suspicion_is_made_again(run, places, text):
    assert run(SuspiciousModel()) == 0
    table = places[1] / FILE
    table.write_text(table.read_text().replace(",0.9,", f",{text},"))
    model = SuspiciousModel()
    assert run(model, "--alarm=0.9") == 0
    assert model.answered == 1
    assert read_columns(places)["90.png"] == ("0.9", "1")


def test_an_interrupted_upgrade_of_an_older_table_resumes(run, places):
    """The table of a version without suspicion: all its files are made again."""
    assert run(SuspiciousModel()) == 0
    with (places[1] / FILE).open() as file:
        rows = list(csv.DictReader(file))
    with (places[1] / FILE).open("w") as file:
        names = [name for name in rows[0] if name not in ("suspicion", "alarm")]
        writer = csv.DictWriter(file, names, extrasaction="ignore")
        writer.writeheader()
        writer.writerows(rows)
    assert run(SuspiciousModel(stop_after=1), "--batch_size=1") == 130
    model = SuspiciousModel()
    assert run(model, "--batch_size=1") == 0
    assert model.answered == 3
    assert {suspicion for suspicion, _ in read_columns(places).values()} == {
        "0",
        "0.9",
        "0.99",
        "1",
    }


def test_a_model_without_suspicion_has_no_alarm(run, places, capsys):
    assert run(CountingModel(), "--alarm=0.99") == 2
    printed = capsys.readouterr().err
    assert "--alarm=0.99: --model=m has no output suspicion. Export the run again" in printed
    assert len(printed.splitlines()) == 1
    assert not places[1].exists()
    assert run(CountingModel()) == 0
    assert set(read_columns(places).values()) == {("", "")}


@pytest.mark.parametrize("alarm", ["0", "-0.1", "1.01", "99", "nan", "inf", "", "high", "0,99"])
def test_a_wrong_alarm_is_one_line(run, places, capsys, alarm):
    assert run(SuspiciousModel(), f"--alarm={alarm}") == 2
    printed = capsys.readouterr().err
    assert "--alarm=" in printed
    assert len(printed.splitlines()) == 1
    assert not places[1].exists()


@pytest.mark.parametrize(
    ("suspicion", "message"),
    [
        (None, "answer lacks suspicion; it has purified"),
        ([0.5], "suspicion is float32 of shape"),
        ([0.5, 1.5], "suspicion has values from 0.5 to 1.5"),
        ([0.5, -1], "suspicion has values from -1 to 0.5"),
        ([0.5, np.nan], "suspicion contains NaN"),
    ],
)
def test_a_wrong_suspicion_of_a_server_is_one_line(suspicion, message):
    rules = OutputRules("--server=h:1", (2, 2, 1), 2, has_suspicion=True)
    outputs = {"purified": np.zeros((2, 2, 2, 1), np.float32)}
    if suspicion is not None:
        outputs["suspicion"] = np.float32(suspicion)
    with pytest.raises(UserError, match=f"--server=h:1: its .*{message}"):
        rules.sound_outputs(outputs, "purify", 2)
    OutputRules("--server=h:1", (2, 2, 1), 2).sound_outputs(
        {"purified": outputs["purified"]}, "purify", 2
    )
