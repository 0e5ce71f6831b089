"""bin/train: run directories, resuming, classifiers alone, custom models."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import tfdefense
from tests.cli.conftest import QUICK, custom_model
from tfdefense.cli.main import main
from tfdefense.utils.processors import usable_cores

ROOT = Path(__file__).parents[2]


@pytest.mark.slow
def test_a_run_directory_holds_everything(run):
    for name in (
        "config.json",
        "classifier.keras",
        "report.json",
        "report.html",
        "report.md",
        "gallery.png",
    ):
        assert (run / name).is_file(), name
    assert list((run / "checkpoints").glob("*.index"))
    assert list((run / "events").glob("events*"))
    assert (run / "export" / "1" / "saved_model.pb").is_file()
    config = json.loads((run / "config.json").read_text())
    assert config["settings"]["epochs"] == 1
    assert config["settings"]["seed"] == 0
    assert {"tensorflow", "keras", "python", "tfdefense"} <= config["made_with"].keys()


@pytest.mark.parametrize("command", [QUICK, ["train", "--run=runs/digits-mnist_cnn-apeganpp"]])
def test_the_same_command_again_does_nothing(run, capsys, command):
    before = {path: path.stat().st_mtime_ns for path in run.rglob("*")}
    assert main(command) == 0
    assert {path: path.stat().st_mtime_ns for path in run.rglob("*")} == before
    printed = capsys.readouterr().out
    for needed in ("fgsm 0.3", "white box", "gallery.png", "tensorboard --logdir", "export/1"):
        assert needed in printed


def test_other_settings_are_listed_by_flag(run, capsys):
    assert main([*QUICK, "--lambda2=0.9", "--seed=3"]) == 2
    error = capsys.readouterr().err
    assert "--lambda2=0.5 (0.9 now), --seed=0 (3 now)" in error
    assert "--overwrite" in error
    assert "--epochs" not in error


@pytest.mark.slow
def test_the_training_figure_has_plain_numbers(run):
    assert "mathdefault" not in (run / "training.svg").read_text()


@pytest.mark.slow
def test_train_learns_from_the_images_that_attack_made(run, tmp_path, capsys):
    examples = tmp_path / "bim"
    flags = ["--split=train", "--images=256", "--steps=2", f"--output={examples}"]
    assert main(["attack", "--attack=bim", *flags]) == 0
    trained = tmp_path / "run"
    few = ["--attacks=fgsm", "--checks=none"]
    command = [*QUICK, *few, f"--run={trained}", f"--pairs={examples}"]
    assert main(command) == 0
    settings = json.loads((trained / "config.json").read_text())["settings"]
    assert settings["pairs"][0].startswith("bim-")
    capsys.readouterr()
    assert main(["train", f"--run={trained}"]) == 0
    assert main(["train", f"--run={trained}", "--defense=apeganpp", "--lambda1=0.7"]) == 2
    assert "--pairs" not in capsys.readouterr().err


@pytest.mark.slow
def test_a_classifier_alone_is_trained_and_then_named(run, capsys):
    command = ["train", "--classifier=lenet", "--epochs=4", "--batch_size=32"]
    assert main(command) == 0
    printed = capsys.readouterr().out
    for needed in ("61,706 parameters, test accuracy", "classifier.keras", "tensorboard --logdir"):
        assert needed in printed
    assert main(["train", "--run=runs/digits-lenet"]) == 0
    assert "Training" not in capsys.readouterr().out
    named = ["--classifier=runs/digits-lenet", "--images=5"]
    assert main(["attack", "--attack=fgsm", *named]) == 0
    assert "on lenet" in capsys.readouterr().out
    assert main(["train", "--classifier=lenet", "--epochs=5"]) == 2
    assert "--batch_size=32 (128 now), --epochs=4 (5 now)" in capsys.readouterr().err


@pytest.mark.slow
def test_a_defence_that_does_not_learn_is_evaluated_and_exported(run, capsys):
    command = ["train", "--defense=bit_depth", *QUICK[4:], "--attacks=fgsm", "--checks=none"]
    assert main(command) == 0
    printed = capsys.readouterr().out
    for needed in ("bit_depth, grey box", "bit_depth, white box", "export/1"):
        assert needed in printed
    place = Path("runs/digits-mnist_cnn-bit_depth")
    few = ["--attacks=bim", "--images=5", "--checks=none"]
    assert main(["evaluate", f"--run={place}", *few]) == 0
    for _ in range(2):  # The first call exports the model with the new report, the second has it.
        assert main(["train", f"--run={place}"]) == 0
        assert "export/2" in capsys.readouterr().out
    assert "| bim" in (place / "export" / "2" / "model_card.md").read_text()


@pytest.mark.slow
def test_a_custom_model_with_a_folder_of_images(run, tmp_path, capsys):
    """From a file with softmax and byte inputs and a folder of pictures to a report and a SavedModel."""
    digits = tfdefense.data.load("digits").train
    for number, (image, label) in enumerate(zip(digits.images[:400], digits.labels, strict=False)):
        place = tmp_path / "pictures" / f"class {label}"
        place.mkdir(parents=True, exist_ok=True)
        picture = Image.fromarray(np.round(255 * image[..., 0]).astype(np.uint8))
        picture.save(place / f"{number}.png")
    custom = ["--classifier=custom.keras", f"--dataset=dir:{tmp_path / 'pictures'}"]
    few = ["--attacks=fgsm", "--checks=none"]
    command = [*QUICK, *few, *custom, f"--run={tmp_path / 'run'}"]
    assert main(command) == 2
    assert "--input_range=0,255" in capsys.readouterr().err
    assert not (tmp_path / "run").exists(), "a failed command leaves no run directory"
    assert main([*command, "--input_range=0,255"]) == 0
    rows = json.loads((tmp_path / "run" / "report.json").read_text())["rows"]
    assert {row["classifier"] for row in rows} == {"custom"}
    assert {row["dataset"] for row in rows} == {"dir-pictures"}
    assert rows[0]["accuracy"] > 0.6
    assert (tmp_path / "run" / "export" / "1" / "saved_model.pb").is_file()
    capsys.readouterr()
    assert main(["train", f"--run={tmp_path / 'run'}"]) == 0
    few = ["--attacks=bim", "--images=5", "--checks=none"]
    assert main(["evaluate", f"--run={tmp_path / 'run'}", *few]) == 0
    custom_model().save(tmp_path / "custom.keras")
    other = f"--classifier={tmp_path / 'custom.keras'}"
    assert main(["train", f"--run={tmp_path / 'run'}", other, "--input_range=0,255"]) == 2
    assert "classifier hash" in capsys.readouterr().err


@pytest.mark.slow
@pytest.mark.skipif(usable_cores() < 2, reason="one processor core")
def test_a_replica_on_each_core_trains_and_attacks(place, tmp_path):
    settings = [
        *("--defense=robust_purifier", "--widths=8,16", "--inner_steps=1", "--epochs=1"),
        *("--train_images=128", "--batch_size=64", "--images=10", "--white_box_images=4"),
        *("--attacks=fgsm", "--checks=none", "--strategy=per_core", f"--run={tmp_path}/run"),
    ]
    # A process of its own, because the strategy must come before the first operation.
    ended = subprocess.run(
        [sys.executable, "-m", "tfdefense.cli.main", "train", *settings],
        cwd=place,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert ended.returncode == 0, ended.stderr[-2_000:]
    assert "white box" in ended.stdout
