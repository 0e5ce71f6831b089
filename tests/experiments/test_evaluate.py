"""Defences to evaluate, found by their settings."""

import dataclasses

import keras
import numpy as np
import pytest

import tfdefense
from tests.conftest import make_toy_model
from tfdefense.errors import UserError
from tfdefense.experiments.config import DefenseConfig, ExperimentConfig, TrainingConfig
from tfdefense.experiments.context import ExperimentContext
from tfdefense.experiments.evaluate import find_target, load_target_before
from tfdefense.experiments.inputs import ClassifierSelection, DataConfig
from tfdefense.experiments.train import train_defense


@pytest.fixture
def config(toy_split, tmp_path):
    np.savez(
        tmp_path / "toy.npz",
        images=np.tile(toy_split.images, (4, 1, 1, 1))
        * np.linspace(0.5, 1, 96)[:, None, None, None],
        labels=np.tile(toy_split.labels, 4),
    )
    make_toy_model().save(tmp_path / "toy.keras")
    return ExperimentConfig(
        DefenseConfig("apegan"),
        DataConfig(f"npz:{tmp_path / 'toy.npz'}"),
        ClassifierSelection(str(tmp_path / "toy.keras")),
    )


@pytest.mark.slow
def test_a_defence_is_evaluated_on_the_split_that_it_was_trained_with(config, tmp_path):
    """With the default split, some test images may be among those that it was trained on."""
    context = ExperimentContext(runs_dir=tmp_path / "runs")
    seeded = dataclasses.replace(
        config,
        data=dataclasses.replace(config.data, split_seed=5),
        training=TrainingConfig(epochs=1, train_images=8),
    )
    train_defense(seeded, context)
    target = find_target(config, context, {"defense", "dataset", "classifier"})
    name = config.data.dataset
    of = {seed: tfdefense.data.load(name, split_seed=seed).test.images for seed in (0, 5)}
    assert not np.array_equal(of[0], of[5])
    np.testing.assert_array_equal(target.dataset.test.images, of[5])
    # The settings that are given must be those of the run.
    with pytest.raises(UserError, match=r"--split_seed=5 \(not set now\)"):
        find_target(config, context, {"defense", "split_seed"})
    with np.load(tmp_path / "toy.npz") as file:
        moved = {name: np.roll(array, 1, axis=0) for name, array in file.items()}
    np.savez(tmp_path / "toy.npz", **moved)
    for same in (config, seeded):
        with pytest.raises(UserError, match="was trained on other images"):
            find_target(same, context, {"defense", "dataset", "classifier"})


def test_a_defence_that_is_not_trained_yet_is_refused(config, tmp_path):
    with pytest.raises(UserError, match="--defense=apegan: not trained yet"):
        find_target(config, ExperimentContext(runs_dir=tmp_path / "runs"), {"defense"})
    assert not (tmp_path / "runs").exists()


def test_a_defence_that_does_not_learn_needs_no_training(config, tmp_path):
    plain = dataclasses.replace(config, defense=DefenseConfig("bit_depth"), training=None)
    target = find_target(plain, ExperimentContext(runs_dir=tmp_path / "runs"), {"defense"})
    assert target.run.path == tmp_path / "runs" / "npz-toy-toy-bit_depth"
    assert target.run.exists()
    assert target.defense.name == "bit_depth"


def test_other_settings_than_those_of_the_run_get_a_remedy_that_exists(config, tmp_path):
    context = ExperimentContext(runs_dir=tmp_path / "runs")
    plain = dataclasses.replace(config, defense=DefenseConfig("bit_depth"), training=None)
    find_target(plain, context, {"defense"})
    seeded = dataclasses.replace(plain, defense=DefenseConfig("bit_depth", seed=1))
    remedy = "or make another run: bin/train --defense=bit_depth --run=DIR and the same flags"
    with pytest.raises(UserError, match=rf"--seed=0 \(1 now\).* {remedy}"):
        find_target(seeded, context, {"defense", "seed"})


@pytest.mark.slow
def test_another_classifier_of_the_same_name_is_refused(config, tmp_path):
    context = ExperimentContext(runs_dir=tmp_path / "runs")
    training = TrainingConfig(epochs=1, train_images=8)
    train_defense(dataclasses.replace(config, training=training), context)
    given = {"defense", "dataset", "classifier"}
    find_target(config, context, given)
    make_toy_model().save(tmp_path / "toy.keras")  # The same weights in other bytes.
    find_target(config, context, given)
    retrained = make_toy_model()
    retrained.set_weights([1.5 * weight for weight in retrained.get_weights()])
    steeper = make_toy_model()
    steeper.layers[0].activation = keras.activations.relu  # The same weights.
    for other in (retrained, steeper):
        other.save(tmp_path / "toy.keras")
        with pytest.raises(UserError, match="the run has other settings: classifier hash"):
            find_target(config, context, given)


def test_a_report_is_not_written_through_a_link(config, tmp_path):
    plain = dataclasses.replace(config, defense=DefenseConfig("bit_depth"), training=None)
    context = ExperimentContext(runs_dir=tmp_path / "runs")
    run = find_target(plain, context, {"defense"}).run
    (tmp_path / "mine").mkdir()
    other = ClassifierSelection(str(tmp_path / "toy.keras"))
    target = load_target_before(run, other, context)
    target.run.path.rmdir()
    target.run.path.symlink_to(tmp_path / "mine")
    with pytest.raises(UserError, match="is a link to another place"):
        load_target_before(run, other, context)
