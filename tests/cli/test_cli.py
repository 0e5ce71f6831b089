"""Commands as a person types them."""

import json
import subprocess
from pathlib import Path

import numpy as np
import pytest

from tfdefense.cli.main import main

ROOT = Path(__file__).parents[2]
QUICK = [
    *("train", "--defense=apeganpp", "--epochs=1", "--images=20", "--white_box_images=4"),
    *("--attacks=fgsm,pgd",),
]


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A directory with one finished, tiny run in `runs/`."""
    place = tmp_path_factory.mktemp("cli")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(place)
        shorten_classifier(patch)
        assert main(QUICK) == 0
    return place


def shorten_classifier(patch):
    import dataclasses

    from tfdefense.classifiers import mnist_cnn

    short = dataclasses.replace(mnist_cnn.MNIST_CNN, training_images=5_000)
    patch.setattr(mnist_cnn, "MNIST_CNN", short)


@pytest.fixture
def run(place, monkeypatch):
    monkeypatch.chdir(place)
    return Path("runs/digits-mnist_cnn-apeganpp")


def test_a_run_directory_holds_everything(run):
    for name in ("config.json", "classifier.keras", "report.json", "report.md", "gallery.png"):
        assert (run / name).is_file(), name
    assert list((run / "checkpoints").glob("*.index"))
    assert list((run / "events").glob("events*"))
    assert (run / "export" / "1" / "saved_model.pb").is_file()
    config = json.loads((run / "config.json").read_text())
    assert config["settings"]["epochs"] == 1
    assert config["settings"]["seed"] == 0
    assert {"tensorflow", "keras", "python", "tfdefense"} <= config["made_with"].keys()


@pytest.mark.parametrize("command", [QUICK, ["train", "--run=runs/digits-mnist_cnn-apeganpp"]])
def test_the_same_command_again_finds_all_done(run, capsys, command):
    before = {path: path.stat().st_mtime_ns for path in run.rglob("*")}
    assert main(command) == 0
    assert {path: path.stat().st_mtime_ns for path in run.rglob("*")} == before
    printed = capsys.readouterr().out
    for needed in ("fgsm 0.3", "white box", "gallery.png", "tensorboard --logdir", "export/1"):
        assert needed in printed


def test_evaluate_finds_what_train_reported(run, tmp_path):
    """The weights that training ended with are those that a later command loads."""
    import shutil

    shutil.copytree(run, tmp_path / "copy")
    rows = json.loads((run / "report.json").read_text())["rows"]
    flags = ["--images=20", "--white_box_images=4", "--attacks=fgsm,pgd"]
    assert main(["evaluate", f"--run={tmp_path / 'copy'}", *flags]) == 0
    again = json.loads((tmp_path / "copy" / "report.json").read_text())["rows"]
    for first, second in zip(rows, again, strict=True):
        assert {**first, "seconds": 0} == {**second, "seconds": 0}
    first, second = (np.load(place / "predictions.npz") for place in (run, tmp_path / "copy"))
    for key in first:
        np.testing.assert_array_equal(first[key], second[key])


def test_evaluate_needs_only_the_run(run, tmp_path, monkeypatch, capsys):
    import shutil

    shutil.copytree(run, tmp_path / "moved")
    monkeypatch.chdir(tmp_path)
    assert main(["evaluate", "--run=moved", "--attacks=bim", "--epsilon=0.2", "--images=10"]) == 0
    assert "bim 0.2" in capsys.readouterr().out
    rows = json.loads(Path("moved/report.json").read_text())["rows"]
    assert {row["n"] for row in rows} == {10}


def test_export_needs_only_the_run_and_counts_up(run, tmp_path, capsys):
    assert main(["export", f"--run={run}", f"--output={tmp_path}"]) == 0
    assert main(["export", f"--run={run}", f"--output={tmp_path}"]) == 0
    assert sorted(path.name for path in tmp_path.iterdir()) == ["1", "2"]
    assert "saved_model_cli show --dir" in capsys.readouterr().out


BAD = [
    (["trian"], "unknown command 'trian'. Did you mean 'train'"),
    (["train"], "--defense: none given"),
    (["train", "--defense=apegan++"], "unknown defense 'apegan++'. Did you mean 'apeganpp'"),
    (["train", "--defense=apeganpp", "--dataset=digit"], "Did you mean 'digits'"),
    (["train", "--defense=apeganpp", "--classifier=mnistcnn"], "Did you mean 'mnist_cnn'"),
    (["train", "--defense=apeganpp", "--epochs=0"], "--epochs=0: at least 1"),
    (["train", "--defense=apeganpp", "--epochs=many"], "epochs"),
    (["train", "--defense=apeganpp", "--epsilon=1.5"], "--epsilon=1.5: a number in [0, 1]"),
    (["train", "--defense=apeganpp", "--attacks=fgms"], "Did you mean 'fgsm'"),
    (["train", "--defense=apeganpp", "--strengths=0.1,big"], "--strengths=0.1,big: numbers"),
    (["train", "--defense=apeganpp", "--strengths=0.1,7"], "--strengths: 7.0 given"),
    (["train", "--defense=apeganpp", "--lambda2=-1"], "--lambda2=-1.0"),
    (["train", "--defense=apeganpp", "--strategy=tpu"], "unknown strategy 'tpu'"),
    (["train", "--defense=apeganpp", "--epohcs=3"], "Unknown command line flag 'epohcs'"),
    (["train", "--defense=apeganpp", "now"], "'now': not a flag"),
    (["train", "--defense=apeganpp", "--run=notes"], "notes: exists and is not a run directory"),
    (["train", "--defense=apeganpp", "--run=/proc/nothing"], "/proc/nothing: cannot be written"),
    (["train", "--defense=apeganpp", "--dataset=mnist", "--data_dir=nowhere"], "no such directory"),
    (["train", "--run=nowhere"], "--defense: none given"),
    (
        ["train", "--defense=apeganpp", "--run=runs/digits-mnist_cnn", "--overwrite"],
        "is a classifier run, a defense run needed",
    ),
    (["evaluate"], "--run: none given"),
    (["evaluate", "--run=nowhere"], "--run=nowhere: no such run directory"),
    (["evaluate", "--run=notes"], "notes: not a run directory"),
    (["evaluate", "--run=runs/digits-mnist_cnn"], "is a classifier run, a defense run needed"),
    (["export", "--run=nowhere"], "no such run directory"),
]


@pytest.mark.parametrize(("arguments", "message"), BAD, ids=lambda value: str(value)[:60])
def test_bad_input_is_one_line_with_status_2_and_nothing_written(
    arguments, message, place, monkeypatch, capsys
):
    monkeypatch.chdir(place)
    (place / "notes").mkdir(exist_ok=True)
    (place / "notes" / "note.txt").write_text("mine")
    before = sorted(place.rglob("*"))
    assert main(arguments) == 2
    errors = capsys.readouterr().err.strip().splitlines()
    assert len(errors) == 1
    assert message in errors[0]
    assert sorted(place.rglob("*")) == before


def test_another_configuration_names_the_flags_that_differ(run, capsys):
    assert main([*QUICK, "--lambda2=0.9", "--seed=3"]) == 2
    error = capsys.readouterr().err
    assert "--lambda2 (0.5 there), --seed (0 there)" in error
    assert "--overwrite" in error
    assert "--epochs" not in error


def test_unfinished_training_is_not_evaluated(run, tmp_path, capsys):
    import shutil

    shutil.copytree(run, tmp_path / "half")
    config = json.loads((tmp_path / "half" / "config.json").read_text())
    config["surroundings"]["steps"] = 490
    (tmp_path / "half" / "config.json").write_text(json.dumps(config))
    assert main(["evaluate", f"--run={tmp_path / 'half'}"]) == 2
    assert "training is not finished (step 9 of 490)" in capsys.readouterr().err


def test_help_shows_our_flags_in_groups(capsys):
    assert main(["train", "--help"]) == 0
    page = capsys.readouterr().out
    for needed in ("--defense", "--lambda1", "Hyperparameters of --defense=apeganpp", "--epsilon"):
        assert needed in page
    assert "logtostderr" not in page
    assert main([]) == 0


def test_starter_without_an_environment_says_how_to_make_one(tmp_path):
    (tmp_path / "bin").mkdir()
    for name in ("start", "train"):
        (tmp_path / "bin" / name).write_bytes((ROOT / "bin" / name).read_bytes())
        (tmp_path / "bin" / name).chmod(0o755)
    result = subprocess.run([tmp_path / "bin" / "train"], capture_output=True, text=True)
    assert result.returncode == 2
    assert len(result.stderr.strip().splitlines()) == 1
    assert "make -C" in result.stderr
