"""bin/certify: certificates are made, resumed and refused."""

import csv
import json

import keras
import numpy as np
import pytest

from tests.conftest import make_toy_model
from tfdefense.cli.main import main
from tfdefense.defenses import DenoisedSmoothing
from tfdefense.defenses.core import randomized_smoothing
from tfdefense.experiments.from_flags import experiment_from_flags
from tfdefense.experiments.train import train_defense
from tfdefense.training.run_directory import RunDirectory

SIGMA = 0.1


@pytest.fixture(scope="module")
def run(tmp_path_factory, toy_split):
    place = tmp_path_factory.mktemp("certify")
    np.savez(
        place / "toy.npz",
        images=(np.tile(toy_split.images, (3, 1, 1, 1)) * 255).astype(np.uint8),
        labels=np.tile(toy_split.labels, 3),
    )
    make_toy_model().save(place / "toy.keras")
    path = place / "run"
    flags = {"sigma": SIGMA, "votes": 2, "widths": (4, 8), "epochs": 2, "batch_size": 16}
    train(path, defense="denoised_smoothing", **flags)
    return path


def train(path, **flags):
    """Train a defence of the toy data and classifier next to the run `path`, without a report."""
    place = path.parent
    data = {"dataset": f"npz:{place / 'toy.npz'}", "classifier": str(place / "toy.keras")}
    train_defense(experiment_from_flags({**flags, **data}), run=RunDirectory(path))


def rows(path):
    with (path / "certified.csv").open(newline="") as file:
        return list(csv.DictReader(file))


@pytest.mark.slow
def test_images_are_certified_and_certification_is_resumed(run, tmp_path, capsys):
    output = tmp_path / "all"
    command = [
        "certify",
        f"--run={run}",
        "--images=6",
        "--estimation_samples=60",
        "--selection_samples=20",
    ]
    assert main([*command, f"--output={output}"]) == 0
    printed = capsys.readouterr().out
    assert "L2 radius" in printed
    assert "n=6" in printed
    complete = rows(output)
    assert [row["image"] for row in complete] == list("012345")
    largest = randomized_smoothing.certified_radii(60, 0.001, SIGMA)[-1]
    for row in complete:
        assert 0 <= float(row["radius"]) <= largest
        assert (float(row["radius"]) == 0) == (row["class"] == "-1")
    found = json.loads((output / "certified.json").read_text())
    assert any(row["class"] != "-1" for row in complete)
    right = [row for row in complete if row["class"] == row["label"]]
    assert found["certified"][0] == {"radius": 0.0, "correct": len(right)}
    assert "0.00" in (output / "certified.md").read_text()
    assert (output / "certified.png").read_bytes().startswith(b"\x89PNG")

    # The command was killed after the first four images.
    lines = (output / "certified.csv").read_text().splitlines(keepends=True)
    (output / "certified.csv").write_text("".join(lines[:5]))
    traces = []
    original = DenoisedSmoothing.certify
    DenoisedSmoothing.certify = lambda self, *given: traces.append(1) or original(self, *given)
    try:
        assert main([*command, f"--output={output}"]) == 0
    finally:
        DenoisedSmoothing.certify = original
    assert len(traces) == 1  # For the last two images.
    assert rows(output) == complete

    growing = tmp_path / "growing"
    four = [*command[:2], "--images=4", *command[3:], f"--output={growing}"]
    assert main(four) == 0
    assert rows(growing) == complete[:4]
    assert main([*command, f"--output={growing}"]) == 0
    assert rows(growing) == complete
    # With fewer images, the table is of these, and the other certificates stay.
    assert main(four) == 0
    assert rows(growing) == complete
    assert json.loads((growing / "certified.json").read_text())["n"] == 4


@pytest.mark.slow
def test_a_run_in_colour_by_the_recipe_is_certified(tmp_path, capsys):
    """With the generator of the recipe, small, and with augmentation and bfloat16."""
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (48, 16, 16, 3), np.uint8)
    np.savez(tmp_path / "toy.npz", images=images, labels=np.arange(48) % 3)
    keras.utils.set_random_seed(0)
    layers = [keras.Input((16, 16, 3)), keras.layers.Flatten(), keras.layers.Dense(3)]
    keras.Sequential(layers).save(tmp_path / "toy.keras")
    flags = {
        "recipe": "color",
        "widths": (4, 8, 8, 8),
        "epochs": 1,
        "batch_size": 8,
        "augmentation": "shift",
        "mirror": True,
        "mixed_precision": "bfloat16",
    }
    train(tmp_path / "run", defense="denoised_smoothing", **flags)
    settings = RunDirectory(tmp_path / "run").read_config().settings
    chosen = {"generator": "residual_unet", "blocks": [0, 2, 1, 1], "schedule": "triangle"}
    assert {name: settings[name] for name in chosen} == chosen
    few = ["--images=3", "--estimation_samples=30", "--selection_samples=10"]
    assert main(["certify", f"--run={tmp_path / 'run'}", *few]) == 0
    assert "n=3" in capsys.readouterr().out
    found = rows(tmp_path / "run" / "certified")
    assert [row["image"] for row in found] == list("012")
    for row in found:
        assert (float(row["radius"]) == 0) == (row["class"] == "-1")


def assert_refused(flags, message, capsys):
    assert main(["certify", *flags]) == 2
    error = capsys.readouterr().err
    assert message in error
    assert len(error.splitlines()) == 1


@pytest.mark.parametrize(
    ("flags", "message"),
    [([], "--run: none given"), (["--run=gone"], "--run=gone: no such")],
)
def test_a_missing_run_is_one_line_with_status_2(capsys, monkeypatch, tmp_path, flags, message):
    monkeypatch.chdir(tmp_path)
    assert_refused(flags, message, capsys)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--run={run}", "--estimation_samples=0"], "--estimation_samples=0: at least 1"),
        (["--run={run}", "--selection_samples=0"], "--selection_samples=0: at least 1"),
        (["--run={run}", "--selection_samples=3000000000"], "--selection_samples=3000000000: "),
        (["--run={run}", "--draws=5"], "--draws: renamed to --estimation_samples."),
        (["--run={run}", "-first", "5"], "--first: renamed to --selection_samples."),
        (["--run={run}", "--alpha=1"], "--alpha=1.0: a number above 0 and below 1"),
        (["--run={run}", "--images=0"], "--images=0: at least 1"),
        (["--run={run}", "--alphas=5"], "unknown flag '--alphas'. Did you mean '--alpha'?"),
    ],
)
def test_wrong_input_is_one_line_with_status_2(run, capsys, monkeypatch, flags, message):
    monkeypatch.chdir(run.parent)
    assert_refused([flag.format(run=run) for flag in flags], message, capsys)
    assert not (run / "certified").exists()


@pytest.mark.slow
def test_other_settings_and_other_defenses_are_refused(run, tmp_path, capsys, monkeypatch):
    command = ["certify", f"--run={run}", f"--output={tmp_path / 'c'}", "--images=1"]
    assert main([*command, "--estimation_samples=10"]) == 0
    assert main([*command, "--estimation_samples=20"]) == 2
    assert "--estimation_samples=10 (20 now)" in capsys.readouterr().err
    assert main([*command, "--estimation_samples=20", "--overwrite"]) == 0
    original = DenoisedSmoothing.networks

    def retrained(self):
        for network in original(self).values():
            network.set_weights([weight + 0.1 for weight in network.get_weights()])
        return original(self)

    monkeypatch.setattr(DenoisedSmoothing, "networks", retrained)
    assert main([*command, "--estimation_samples=20"]) == 2
    assert "holds certificates of other weights with the same settings" in capsys.readouterr().err
    monkeypatch.undo()
    bits = run.parent / "bits"
    train(bits, defense="bit_depth")
    assert main(["certify", f"--run={bits}"]) == 2
    assert "bit_depth cannot certify" in capsys.readouterr().err
