"""Results that an earlier bin/purify left in its target: lines, files and stored answers."""

import csv

import numpy as np
import pytest

from tests.serving.client.counting_model import SHAPE, CountingModel, write_image
from tfdefense.errors import WorkFailedError
from tfdefense.serving.client import batch_purify
from tfdefense.serving.client.batch_purify import BatchPurifier
from tfdefense.serving.client.predictions_file import PredictionsFile
from tfdefense.serving.client.predictions_rows import FILE
from tfdefense.serving.client.purify_settings import PurifySettings

OVERWRITE = PurifySettings(overwrite=True)


@pytest.fixture
def places(tmp_path):
    """A folder of three images, and the target."""
    for number in range(3):
        write_image(tmp_path / "in" / f"{number}.png", number)
    return tmp_path / "in", tmp_path / "out"


def read_lines(target):
    """Return the lines of the table: one per file."""
    with (target / FILE).open() as file:
        rows = list(csv.DictReader(file))
    by_name = {row["file"]: row for row in rows}
    assert len(by_name) == len(rows)
    return by_name


def read_outputs(target):
    return {path.name: path.read_bytes() for path in target.glob("*.png")}


@pytest.mark.parametrize("flag", ["--overwrite", "--noresume"])
def test_stored_answers_are_not_used(flag, run, places):
    """The model was deployed again with the same version, so its answers may differ."""
    for path in places[0].iterdir():
        path.unlink()
    np.savez(places[0] / "nine.npz", x=np.zeros((9, *SHAPE), np.float32))
    assert run(CountingModel(stop_after=2), "--batch_size=2") == 130
    assert len(list(places[1].rglob(".answered/*/*.npz"))) == 2
    model = CountingModel()
    assert run(model, "--batch_size=2", flag) == 0
    assert model.answered == 9


@pytest.mark.parametrize("version", ["m/1", "m/2"])
def test_lines_of_files_that_are_not_in_the_input_stay(version, places):
    source, target = places
    BatchPurifier(CountingModel(), source, target).run()
    before = read_lines(target)
    assert BatchPurifier(CountingModel(version), source / "0.png", target, OVERWRITE).run() == 1
    after = read_lines(target)
    assert after.pop("0.png")["model"] == version
    assert after == {name: before[name] for name in ("1.png", "2.png")}
    model = CountingModel(version)
    assert BatchPurifier(model, source / "0.png", target, PurifySettings(resume=True)).run() == 1
    assert model.answered == 0
    model = CountingModel()
    assert BatchPurifier(model, source, target).run() == 3
    assert model.answered == (0 if version == "m/1" else 1)


def test_lines_of_an_older_version_stay_too(places):
    source, target = places
    BatchPurifier(CountingModel(), source, target).run()
    (target / FILE).write_text("file,model\n" + "".join(f"{n}.png,old\n" for n in range(3)))
    assert BatchPurifier(CountingModel(), source / "0.png", target).run() == 1
    model = CountingModel()
    assert BatchPurifier(model, source, target).run() == 3
    assert model.answered == 2


@pytest.mark.parametrize("stop_after", [0, 1])
def test_another_model_deletes_nothing_before_it_answers(stop_after, run, places):
    assert run(CountingModel()) == 0
    before = read_outputs(places[1])
    assert run(CountingModel("m/2", stop_after), "--batch_size=1") == 130
    assert read_outputs(places[1]) == before
    finished = {name: bool(row["source_hash"]) for name, row in read_lines(places[1]).items()}
    assert finished == {"0.png": stop_after == 1, "1.png": False, "2.png": False}
    model = CountingModel("m/2")
    assert run(model, "--resume") == 0
    assert model.answered == 3 - stop_after
    assert {row["model"] for row in read_lines(places[1]).values()} == {"m/2"}


@pytest.mark.parametrize("flag", ["--overwrite", "--batch_size=1"])
def test_an_interrupted_second_run_resumes(flag, run, places, monkeypatch):
    assert run(CountingModel()) == 0
    version = "m/1" if flag == "--overwrite" else "m/2"
    with monkeypatch.context() as patch:
        # As after SIGKILL: the earlier lines of the finished file are still in the table.
        patch.setattr(PredictionsFile, "remove_replaced", lambda _: None)
        assert run(CountingModel(version, 1), "--batch_size=1", flag) == 130
    assert len((places[1] / FILE).read_text().splitlines()) == 1 + 3 + 1
    model = CountingModel(version)
    assert run(model) == 0
    assert model.answered == 2
    assert {row["model"] for row in read_lines(places[1]).values()} == {version}


def test_a_skipped_file_keeps_its_earlier_result(places):
    source, target = places
    BatchPurifier(CountingModel(), source, target).run()
    before = read_outputs(target)
    (source / "1.png").write_bytes(b"")
    purifier = BatchPurifier(CountingModel("m/2"), source, target)
    with pytest.raises(WorkFailedError, match="1 of 3 files skipped"):
        purifier.run()
    assert read_outputs(target) == before
    row = read_lines(target)["1.png"]
    assert (row["model"], row["source_hash"]) == ("m/1", "")
    assert purifier.predictions.images == 3


@pytest.mark.parametrize("cut", ["6.png,,apeg", '"6.pn', "6.png,,m/1,1,b,0.5,1.0,,,,ab"])
def test_a_cut_line_does_not_hinder_resume(cut, run, places):
    assert run(CountingModel()) == 0
    with (places[1] / FILE).open("a") as file:
        file.write(cut)
    model = CountingModel()
    assert run(model, "--resume") == 0
    assert model.answered == 0
    assert sorted(read_lines(places[1])) == ["0.png", "1.png", "2.png"]


def test_an_empty_file_is_not_finished(run, places):
    assert run(CountingModel()) == 0
    before = read_outputs(places[1])
    (places[1] / "1.png").write_bytes(b"")
    assert BatchPurifier(CountingModel(), places[0] / "0.png", places[1]).run() == 1
    model = CountingModel()
    assert run(model) == 0
    assert model.answered == 1
    assert read_outputs(places[1]) == before


def test_a_file_that_is_replaced_while_it_is_read_is_purified_again(run, places, monkeypatch):
    read = batch_purify.read_upright

    def read_and_replace(path):
        encoded = read(path)
        if path.name == "1.png":
            write_image(path, 200)
        return encoded

    with monkeypatch.context() as patch:
        patch.setattr(batch_purify, "read_upright", read_and_replace)
        assert run(CountingModel()) == 0
    model = CountingModel()
    assert run(model) == 0
    assert model.answered == 1


def test_a_huge_image_is_refused_before_it_is_hashed(run, places, capsys):
    with (places[0] / "1.png").open("wb") as file:
        file.truncate(2**40)
    assert run(CountingModel()) == 1
    message = "1.png: 1,099,511,627,776 bytes; at most 2,147,483,648 are accepted"
    assert message in capsys.readouterr().out
