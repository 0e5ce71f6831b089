"""--resume, --skip_bad, the exit status of bin/purify, and two calls with one target."""

import csv
import fcntl

import numpy as np
import pytest

from tests.serving.client.counting_model import SHAPE, CountingModel, write_image
from tfdefense.cli import purify
from tfdefense.cli.main import main
from tfdefense.errors import UserError
from tfdefense.serving.client import batch_purify
from tfdefense.serving.client.batch_purify import BatchPurifier
from tfdefense.serving.client.predictions_file import FILE
from tfdefense.serving.client.purify_settings import PurifySettings

SMALL_BATCHES = PurifySettings(batch_size=2)


@pytest.fixture
def places(tmp_path):
    """A folder of seven images and an archive of nine, and the target."""
    for number in range(7):
        write_image(tmp_path / "in" / f"{number}.png", number)
    np.savez(tmp_path / "in" / "nine.npz", x=np.zeros((9, *SHAPE), np.float32), y=np.arange(9))
    return tmp_path / "in", tmp_path / "out"


@pytest.mark.parametrize("stop_after", range(9))
def test_an_interrupted_run_does_not_send_again_what_was_answered(stop_after, places):
    first, second = CountingModel(stop_after=stop_after), CountingModel()
    with pytest.raises(KeyboardInterrupt):
        BatchPurifier(first, *places, SMALL_BATCHES).run()
    assert BatchPurifier(second, *places, SMALL_BATCHES).run() == 8
    assert first.answered + second.answered == 7 + 9
    with (places[1] / FILE).open() as file:
        rows = list(csv.DictReader(file))
    assert len({(row["file"], row["index"]) for row in rows}) == len(rows) == 7 + 9
    with np.load(places[1] / "nine.npz") as archive:
        assert np.all(archive["x"] == 1)
        assert archive["y"].tolist() == list(range(9))
    assert sorted(path.name for path in places[1].iterdir() if path.name.startswith(".")) == []


def test_archives_are_purified_by_a_model_in_a_directory_that_is_not_utf_8(places):
    assert BatchPurifier(CountingModel("m\udcfc/1"), *places).run() == 8


@pytest.mark.parametrize("damage", ["cut", "other outputs", "another model", "another batch size"])
def test_answers_that_do_not_fit_are_asked_again(damage, places):
    with pytest.raises(KeyboardInterrupt):
        BatchPurifier(CountingModel(stop_after=6), *places, SMALL_BATCHES).run()
    stored = sorted(places[1].rglob(".answered/*/*.npz"))
    assert [path.name for path in stored] == ["0.npz", "1.npz"]
    if damage == "cut":
        stored[0].write_bytes(stored[0].read_bytes()[:100])
    if damage == "other outputs":
        np.savez(stored[0], purified=np.full((2, *SHAPE), 7.0, np.float32))
    model = CountingModel("m/2" if damage == "another model" else "m/1")
    size = 3 if damage == "another batch size" else 2
    assert BatchPurifier(model, *places, PurifySettings(batch_size=size)).run() == 8
    resent = {"cut": 2, "other outputs": 2, "another model": 7 + 4, "another batch size": 4}
    assert model.answered == 5 + resent[damage]
    with np.load(places[1] / "nine.npz") as archive:
        assert np.all(archive["x"] == 1)


def test_lines_that_another_process_writes_before_the_lock_are_kept(places, monkeypatch):
    lock = batch_purify.lock_directory

    def finish_first(*arguments):
        monkeypatch.setattr(batch_purify, "lock_directory", lock)
        BatchPurifier(CountingModel(), *places).run()
        return lock(*arguments)

    monkeypatch.setattr(batch_purify, "lock_directory", finish_first)
    model = CountingModel()
    assert BatchPurifier(model, *places).run() == 8
    assert model.answered == 0
    assert len((places[1] / FILE).read_text().splitlines()) == 1 + 7 + 9


def test_files_of_others_in_the_folder_of_answers_stay(places):
    (places[1] / ".answered").mkdir(parents=True)
    (places[1] / ".answered" / "mine.txt").write_text("mine")
    assert BatchPurifier(CountingModel(), *places).run() == 8
    assert [path.name for path in (places[1] / ".answered").iterdir()] == ["mine.txt"]


def test_resume_never_starts_a_run(run, places, capsys):
    assert run(CountingModel(), "--resume") == 2
    message = f"--resume: {places[1]} holds no run of bin/purify (no predictions.csv)."
    assert message in capsys.readouterr().err
    assert not places[1].exists()
    assert run(CountingModel(stop_after=1)) == 130
    model = CountingModel()
    assert run(model, "--resume") == 0
    assert model.answered == 9
    assert run(model, "--resume") == 0
    assert model.answered == 9
    assert run(CountingModel("m/2"), "--resume") == 2
    assert "was purified by m/1, and this is m/2. Name that model" in capsys.readouterr().err
    assert run(model, "--resume", "--overwrite") == 2
    assert "--resume: not with --overwrite" in capsys.readouterr().err


def test_noresume_never_continues_a_run(run, places, capsys):
    assert run(CountingModel(), "--noresume") == 0
    assert run(CountingModel(), "--noresume") == 2
    assert f"--noresume: {places[1]} holds a run of bin/purify of 16" in capsys.readouterr().err
    model = CountingModel()
    assert run(model, "--noresume", "--overwrite") == 0
    assert model.answered == 16


@pytest.fixture
def bad_files(places):
    """Three files that cannot be used."""
    write_image(places[0] / "3x3.png", size=(3, 3))
    (places[0] / "cut.png").write_bytes((places[0] / "0.png").read_bytes()[:40])
    (places[0] / "text.npz").write_text("text")


@pytest.mark.usefixtures("bad_files")
def test_skip_bad_decides_the_exit_status(run, places, capsys):
    assert run(CountingModel()) == 1
    assert "3 of 11 files skipped, for the reasons above. The others" in capsys.readouterr().err
    model = CountingModel()
    assert run(model, "--skip_bad") == 0
    assert model.answered == 0
    printed = capsys.readouterr()
    assert "3 of 11 files skipped, for the reasons above. The others" in printed.out
    assert printed.out.count("Skipped ") == 3
    assert "8 files" in printed.out
    assert "tfdefense:" not in printed.err
    assert run(model, "--noskip_bad") == 1
    printed = capsys.readouterr().err
    assert "Stopped, because of --noskip_bad; repeat the command to resume." in printed
    assert len(list(places[1].glob("*.png"))) == 7


def test_a_run_of_bad_files_alone_fails_with_skip_bad(tmp_path, capsys, monkeypatch):
    write_image(tmp_path / "in" / "3x3.png", size=(3, 3))
    monkeypatch.setattr(purify, "open_model", lambda _: CountingModel())
    places = [f"--input={tmp_path / 'in'}", f"--output={tmp_path / 'out'}"]
    assert main(["purify", "--model=m", "--skip_bad", *places]) == 1
    assert "1 of 1 files skipped, for the reasons above. None was" in capsys.readouterr().err


@pytest.mark.parametrize("timeout", ["nan", "inf", "-1", "1e9"])
def test_a_timeout_is_a_time(timeout, run, capsys):
    assert run(CountingModel(), "--server=h:1", f"--timeout={timeout}") == 2
    assert f"--timeout={float(timeout)}: " in capsys.readouterr().err


def test_settings_are_checked():
    with pytest.raises(UserError, match="--batch_size=0: at least 1 is needed"):
        PurifySettings(batch_size=0)


def test_a_second_call_with_the_same_target_is_refused(places):
    source, target = places
    target.mkdir()
    with (target / ".lock").open("w") as other:  # Another process holds the lock.
        fcntl.flock(other, fcntl.LOCK_EX)
        with pytest.raises(UserError, match=r"--output=.*: in use by another process"):
            BatchPurifier(CountingModel(), source, target, SMALL_BATCHES)
        assert [path.name for path in target.iterdir()] == [".lock"]
    assert BatchPurifier(CountingModel(), source, target, SMALL_BATCHES).run() == 8
    assert not (target / ".lock").exists()
