"""Runs whose images are at another path than in training."""

import dataclasses
import shutil

import numpy as np
import pytest

from tests.conftest import make_toy_model
from tfdefense.cli.main import main
from tfdefense.errors import UserError
from tfdefense.experiments.config import DefenseConfig, ExperimentConfig, TrainingConfig
from tfdefense.experiments.context import ExperimentContext, ImagePlace
from tfdefense.experiments.evaluate import find_target, load_target
from tfdefense.experiments.inputs import ClassifierSelection, DataConfig
from tfdefense.experiments.load import load_dataset
from tfdefense.experiments.train import train_defense
from tfdefense.training.run_directory import RunDirectory


@pytest.fixture(scope="module")
def trained(toy_split, tmp_path_factory):
    """A run, and a folder with its images, which are then moved."""
    directory = tmp_path_factory.mktemp("trained")
    pixels = np.round(255 * np.tile(toy_split.images, (4, 1, 1, 1))).astype(np.uint8)
    np.savez(directory / "toy.npz", images=pixels, labels=np.tile(toy_split.labels, 4))
    make_toy_model().save(directory / "toy.keras")
    config = ExperimentConfig(
        DefenseConfig("bit_depth"),
        DataConfig(f"npz:{directory / 'toy.npz'}", split_seed=1),
        ClassifierSelection(str(directory / "toy.keras")),
    )
    train_defense(config, run=RunDirectory(directory / "run"))
    (directory / "toy.npz").rename(directory / "moved.npz")
    return config, directory


@pytest.fixture
def moved(trained, tmp_path):
    """The config, a copy of the run, and where the images are now."""
    config, directory = trained
    shutil.copytree(directory / "run", tmp_path / "run")
    shutil.copy(directory / "moved.npz", tmp_path / "toy.npz")
    return config, RunDirectory(tmp_path / "run"), tmp_path / "toy.npz"


def test_a_run_says_that_its_images_are_gone(moved):
    with pytest.raises(
        UserError, match=r"run: its images, npz:.*, are no longer there\. .* --dataset=npz:FILE\."
    ):
        load_dataset(moved[1])


def test_a_run_is_loaded_with_its_images_at_another_path(moved):
    _, run, new = moved
    target = load_target(run, ImagePlace(dataset=f"npz:{new}"))
    assert target.dataset.source == f"npz:{new}"
    assert target.dataset.options == {"split_seed": 1}


def test_training_accepts_its_images_at_another_path(moved, capsys):
    config, run, new = moved
    before = run.config_path.read_bytes()
    train_defense(dataclasses.replace(config, data=DataConfig(f"npz:{new}", split_seed=1)), run=run)
    assert run.config_path.read_bytes() == before
    command = ["train", f"--run={run.path}", f"--dataset=npz:{new}", "--seed=1"]
    assert main(command) == 2
    error = capsys.readouterr().err
    assert "--seed=0 (1 now)" in error
    assert "--dataset" not in error
    assert "--split_seed" not in error


def test_the_default_run_is_found_with_its_images_at_another_path(moved, tmp_path):
    config, run, new = moved
    (tmp_path / "runs").mkdir()
    run.path.rename(tmp_path / "runs" / "npz-toy-toy-bit_depth")
    context = ExperimentContext(runs_dir=tmp_path / "runs")
    at_new = dataclasses.replace(config, data=DataConfig(f"npz:{new}", split_seed=1))
    found = find_target(at_new, context, ["dataset"])
    assert found.dataset.source == f"npz:{new}"


@pytest.mark.slow
def test_the_default_run_is_found_if_it_learned_from_fewer_images(moved, tmp_path):
    config, _, new = moved
    context = ExperimentContext(runs_dir=tmp_path / "runs")
    few = TrainingConfig(epochs=1, train_images=8, batch_size=8)
    data, apegan = DataConfig(f"npz:{new}"), DefenseConfig("apegan")
    train_defense(dataclasses.replace(config, defense=apegan, data=data, training=few), context)
    (tmp_path / "there").mkdir()
    data = DataConfig(f"npz:{new.rename(tmp_path / 'there' / 'toy.npz')}")
    asked = dataclasses.replace(config, defense=apegan, data=data)
    assert find_target(asked, context, ["dataset"]).dataset.source == data.dataset


@pytest.mark.slow
@pytest.mark.parametrize(
    ("command", "flags", "written"),
    [
        ("evaluate", ["--attacks=fgsm", "--checks=none", "--images=6"], "report.json"),
        (
            "attack",
            ["--attack=fgsm", "--images=6", "--output=attacked"],
            "../attacked/summary.json",
        ),
        ("export", ["--output=model"], "../model/1/saved_model.pb"),
    ],
)
def test_commands_take_images_at_another_path(moved, monkeypatch, command, flags, written):
    _, run, new = moved
    monkeypatch.chdir(run.path.parent)
    assert main([command, f"--run={run.path}", f"--dataset=npz:{new}", *flags]) == 0
    assert (run.path / written).is_file()


def test_other_images_are_refused(moved, toy_split):
    _, run, new = moved
    pixels = np.round(255 * toy_split.images).astype(np.uint8)
    np.savez(new, images=pixels, labels=toy_split.labels)
    with pytest.raises(UserError, match="was trained on other images"):
        load_dataset(run, ImagePlace(dataset=f"npz:{new}"))


@pytest.mark.parametrize(
    ("command", "flags"),
    [("evaluate", []), ("attack", ["--attack=fgsm"]), ("certify", []), ("export", [])],
)
def test_another_kind_of_images_is_refused(moved, capsys, command, flags):
    given = [command, f"--run={moved[1].path}", "--dataset=digits", *flags]
    assert main(given) == 2
    assert "--dataset=digits: --run has its own, npz:" in capsys.readouterr().err


def test_images_without_a_hash_must_be_where_they_were(moved):
    _, run, new = moved
    text = run.config_path.read_text()
    run.config_path.write_text(text.replace('"images": "', '"images_of_old": "'))
    with pytest.raises(UserError, match=r"has no hash of its images.* leave it out"):
        load_dataset(run, ImagePlace(dataset=f"npz:{new}"))
