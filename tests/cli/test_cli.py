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
    from tfdefense.classifiers.architecture import Recipe

    short = dataclasses.replace(mnist_cnn.MNIST_CNN, grey=Recipe(training_images=6_000))
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


ATTACK = ["attack", "--attack=jsma", "--theta=0.5", "--gamma=0.3", "--images=12", "--batch_size=5"]


def test_attack_writes_examples_and_a_summary_and_finds_them_again(run, capsys):
    assert main(ATTACK) == 0
    printed = capsys.readouterr().out
    for needed in ("fools", "rounded to 8 bits", "n=12", "theta=0.5", "summary.json", "Crafting"):
        assert needed in printed
    (found,) = Path("runs/attacks").glob("digits-test-mnist_cnn-jsma-*")
    with np.load(found / "shards" / "00000010.npz") as shard:
        assert shard["adversarial"].shape == (2, 28, 28, 1)
        assert shard["adversarial"].dtype == np.float32
    assert main(ATTACK) == 0
    assert "Found in" in capsys.readouterr().out
    assert json.loads((found / "summary.json").read_text())["settings"]["gamma"] == 0.3


def test_attack_on_a_run_attacks_the_whole_defence(run, capsys):
    assert main(["attack", "--attack=bim", f"--run={run}", "--images=5", "--epsilon=0.4"]) == 0
    assert "on apeganpp+mnist_cnn" in capsys.readouterr().out


def test_train_takes_what_attack_left(run, tmp_path, capsys):
    examples = tmp_path / "bim"
    flags = ["--split=train", "--steps=2", f"--output={examples}"]
    assert main(["attack", "--attack=bim", *flags]) == 0
    trained = tmp_path / "run"
    command = [*QUICK, f"--run={trained}", f"--pairs={examples}"]
    assert main(command) == 0
    settings = json.loads((trained / "config.json").read_text())["settings"]
    assert settings["pairs"][0].startswith("bim-")
    capsys.readouterr()
    assert main(["train", f"--run={trained}"]) == 0
    assert main(["train", f"--run={trained}", "--defense=apeganpp", "--lambda1=0.7"]) == 2
    assert "--pairs" not in capsys.readouterr().err


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
        "is a run of kind classifier, one of kind defense needed",
    ),
    (["evaluate"], "--run: none given"),
    (["evaluate", "--run=nowhere"], "--run=nowhere: no such run directory"),
    (["evaluate", "--run=notes"], "notes: not a run directory"),
    (
        ["evaluate", "--run=runs/digits-mnist_cnn"],
        "is a run of kind classifier, one of kind defense needed",
    ),
    (["export", "--run=nowhere"], "no such run directory"),
    (["evaluate", "--run=nowhere", "--attacks=deepfol"], "Did you mean 'deepfool'"),
    (["attack"], "--attack: none given"),
    (["attack", "--attack=deepfol"], "unknown attack 'deepfol'. Did you mean 'deepfool'"),
    (["attack", "--attack=fgsm", "--theta=1"], "fgsm: has no 'theta'"),
    (["attack", "--attack=fgsm", "--epsilon=-0.1"], "fgsm: epsilon -0.1 given"),
    (["attack", "--attack=fgsm", "--norm=l7"], "unknown fgsm: norm 'l7'"),
    (["attack", "--attack=cw", "--targets=randm"], "Did you mean 'random'"),
    (["attack", "--attack=fgsm", "--split=tset"], "unknown --split 'tset'. Did you mean 'test'"),
    (["attack", "--attack=fgsm", "--images=0"], "--images=0: at least 1"),
    (["attack", "--attack=fgsm", "--batch_size=0"], "--batch_size=0: at least 1"),
    (["attack", "--attack=fgsm", "--run=nowhere"], "--run=nowhere: no such run directory"),
    (
        ["attack", "--attack=fgsm", "--run=runs/digits-mnist_cnn-apeganpp", "--dataset=digits"],
        "--dataset: the --run has its own",
    ),
    (["attack", "--attack=fgsm", "--output=notes"], "notes: exists and is not a run directory"),
    (["train", "--defense=apeganpp", "--run=new", "--pairs=nowhere"], "nowhere: no such run"),
    (
        ["train", "--defense=apeganpp", "--run=new", "--pairs=runs/digits-mnist_cnn"],
        "is a run of kind classifier, one of kind attack needed",
    ),
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
