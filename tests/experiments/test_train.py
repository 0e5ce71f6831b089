"""Training into run directories: defaults, resuming, and what is refused."""

import dataclasses
import json
import shutil

import numpy as np
import pytest

from tests.conftest import make_toy_model
from tfdefense.defenses import APEGAN
from tfdefense.errors import UserError
from tfdefense.experiments.config import DefenseConfig, ExperimentConfig, TrainingConfig
from tfdefense.experiments.context import ExperimentContext
from tfdefense.experiments.inputs import ClassifierSelection, DataConfig
from tfdefense.experiments.load import load_dataset, load_defense, load_experiment
from tfdefense.experiments.plan import plan_training
from tfdefense.experiments.train import train, train_defense
from tfdefense.training.run_directory import RunDirectory


@pytest.fixture(scope="module")
def learned(toy_split, tmp_path_factory):
    """A defence that learns for one step, and its run directory."""
    directory = tmp_path_factory.mktemp("learned")
    np.savez(
        directory / "toy.npz",
        images=(np.tile(toy_split.images, (4, 1, 1, 1)) * 255).astype(np.uint8),
        labels=np.tile(toy_split.labels, 4),
    )
    make_toy_model().save(directory / "toy.keras")
    config = ExperimentConfig(
        DefenseConfig("apegan"),
        DataConfig(f"npz:{directory / 'toy.npz'}"),
        ClassifierSelection(str(directory / "toy.keras")),
        TrainingConfig(epochs=1, train_images=8, batch_size=8),
    )
    run = RunDirectory(directory / "run")
    plan = plan_training(config, run=run)
    assert not run.path.exists(), "a plan writes nothing"
    train_defense(config, run=run)
    assert json.loads(run.config_path.read_text()) == json.loads(plan.to_stored().to_json())
    assert load_experiment(run).config == plan.config
    return config, run


@pytest.fixture
def plain(learned):
    """The same with a defence that does not learn."""
    return dataclasses.replace(learned[0], defense=DefenseConfig("bit_depth"), training=None)


def state(run):
    return {path: path.stat().st_mtime_ns for path in run.path.rglob("*")}


@pytest.mark.slow
def test_a_finished_training_is_not_repeated(learned):
    config, run = learned
    before = state(run)
    train_defense(config, run=run)
    train_defense(load_experiment(run).config, run=run)
    assert state(run) == before


def test_what_is_not_given_is_taken_from_an_existing_run(learned):
    config, run = learned
    same = dataclasses.replace(config, training=TrainingConfig(train_images=8))
    plan = plan_training(same, run=run)
    assert plan.config == load_experiment(run).config
    afresh = plan_training(same, ExperimentContext(overwrite=True), run)
    assert (afresh.loop.epochs, afresh.loop.batch_size) == (64, 128)


@pytest.mark.parametrize("images", [None, 8])
def test_a_new_training_is_refused_a_batch_of_more_images_than_it_has(learned, tmp_path, images):
    dataset = learned[0].data.load_dataset()
    count = images or len(dataset.train)
    training = TrainingConfig(1, count + 1, train_images=images)
    config = dataclasses.replace(learned[0], training=training)
    message = f"--batch_size={count + 1}: more than the {count} training images of {dataset.name}; 1 to {count}"
    for run, overwrite in ((RunDirectory(tmp_path / "new"), False), (learned[1], True)):
        with pytest.raises(UserError, match=message):
            plan_training(config, ExperimentContext(overwrite=overwrite), run)
    fitting = dataclasses.replace(training, batch_size=count)
    config = dataclasses.replace(config, training=fitting)
    assert plan_training(config, run=RunDirectory(tmp_path / "new")).loop.batch_size == count


def test_an_older_run_with_a_larger_batch_opens(learned, tmp_path):
    shutil.copytree(learned[1].path, tmp_path / "older")
    run = RunDirectory(tmp_path / "older")
    text = run.config_path.read_text()
    run.config_path.write_text(text.replace('"batch_size": 8', '"batch_size": 128'))
    (run.path / "files.json").unlink()  # Older versions wrote none.
    config = load_experiment(run).config
    assert plan_training(config, run=run).loop.batch_size == 128
    train_defense(config, run=run)


def test_other_settings_are_refused(learned):
    config, run = learned
    other = dataclasses.replace(config, training=TrainingConfig(epochs=2, batch_size=8))
    with pytest.raises(UserError) as error:
        train_defense(other, run=run)
    assert "--epochs=1 (2 now), --train_images=8 (not set now)" in str(error.value)
    assert "or start afresh with --overwrite" in str(error.value)


def test_a_run_whose_training_is_not_finished_names_the_command(learned, tmp_path):
    shutil.copytree(learned[1].path, tmp_path / "copy")
    run = RunDirectory(tmp_path / "copy")
    content = json.loads(run.config_path.read_text())
    content["surroundings"]["steps"] = 9
    run.config_path.write_text(json.dumps(content))
    (run.path / "files.json").unlink()  # Written when a training has ended.
    with pytest.raises(UserError, match=r"step 1 of 9\)\. Resume it with: bin/train --run="):
        load_defense(run)


@pytest.mark.slow
def test_a_run_is_overwritten_only_if_that_is_asked_for(plain, tmp_path):
    run = RunDirectory(tmp_path / "run")
    train_defense(plain, run=run)
    (run.path / "note").write_text("old")
    other = dataclasses.replace(plain, defense=DefenseConfig("bit_depth", seed=1))
    with pytest.raises(UserError, match=r"--seed=0 \(1 now\)"):
        train_defense(other, ExperimentContext(overwrite=False), run)
    assert (run.path / "note").exists()
    train_defense(other, ExperimentContext(overwrite=True), run)
    assert not (run.path / "note").exists()
    assert run.read_config().settings["seed"] == 1


def test_the_default_run_directory_is_in_runs_dir(plain, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    train_defense(plain, ExperimentContext(runs_dir=tmp_path / "elsewhere"))
    assert [path.name for path in tmp_path.iterdir()] == ["elsewhere"]
    assert [path.name for path in (tmp_path / "elsewhere").iterdir()] == ["npz-toy-toy-bit_depth"]


def test_a_run_of_images_that_have_changed_is_refused(plain, toy_split, tmp_path):
    def write(repeats):
        images = np.tile(np.round(255 * toy_split.images), (repeats, 1, 1, 1)).astype(np.uint8)
        np.savez(tmp_path / "toy.npz", images=images, labels=np.tile(toy_split.labels, repeats))

    config = dataclasses.replace(plain, data=DataConfig(f"npz:{tmp_path / 'toy.npz'}"))
    run = RunDirectory(tmp_path / "run")
    write(4)
    train_defense(config, run=run)
    before = state(run)
    write(5)
    with pytest.raises(
        UserError, match=r"was trained on other images: those of npz:.* have changed"
    ):
        train_defense(config, run=run)
    with pytest.raises(UserError, match=r"have changed since, .*bin/train --run=.* --overwrite"):
        load_dataset(run)
    assert state(run) == before
    write(4)
    train_defense(config, run=run)
    assert len(load_dataset(run).train) == len(plan_training(config).train)


@pytest.mark.slow
def test_a_run_without_its_classifier_finds_it_again_by_its_path(plain, tmp_path, monkeypatch):
    run = RunDirectory(tmp_path / "run")
    train_defense(plain, run=run)
    stored = load_experiment(run).config
    assert stored.classifier.path == plain.classifier.classifier
    assert stored.classifier.classifier == "toy.keras"
    run.classifier_path.unlink()
    monkeypatch.chdir("/")
    train_defense(stored, run=run)
    assert run.classifier_path.is_file()
    assert load_defense(run).name == "bit_depth"  # Its new file is the one that `files.json` names.


def exchange_last_checkpoint(run):
    """Exchange one bit of the weights; TensorFlow restores them without an error."""
    (path,) = run.path.glob("checkpoints/ckpt-1.data*")
    content = bytearray(path.read_bytes())
    content[100] ^= 1
    path.write_bytes(content)


def test_a_finished_run_with_exchanged_weights_is_not_accepted(learned, tmp_path):
    config, run = learned
    copy = RunDirectory(shutil.copytree(run.path, tmp_path / "copy"))
    exchange_last_checkpoint(copy)
    (copy.path / ".lock").unlink()
    before = state(copy)
    with pytest.raises(UserError, match="is not the file that the training wrote"):
        train_defense(config, run=copy)
    (copy.path / ".lock").unlink()
    assert state(copy) == before


def test_an_exchanged_classifier_is_named_before_it_is_opened(plain, tmp_path):
    run = RunDirectory(tmp_path / "run")
    train_defense(plain, run=run)
    make_toy_model().save(run.classifier_path)
    with pytest.raises(UserError, match=r"classifier\.keras is not the file"):
        train_defense(plain, run=run)


def test_defence_and_export_are_given_the_validation_images(learned, tmp_path, monkeypatch):
    given = []

    def export(_, output, facts):
        given.append(facts.validation_images)
        (output / "1").mkdir(parents=True)

    monkeypatch.setattr(APEGAN, "run_training", lambda _, data, *__: given.append(data.validation))
    monkeypatch.setattr("tfdefense.experiments.train.evaluate_run", lambda *_: None)
    monkeypatch.setattr("tfdefense.experiments.train.export", export)
    train(learned[0], run=RunDirectory(tmp_path / "run"))
    expected = load_dataset(learned[1]).validation.images
    assert len(given) == 2
    for split in given:
        np.testing.assert_array_equal(split.images, expected)


def test_training_uses_the_config_in_hand(plain, tmp_path, monkeypatch):
    """`config.json` is read to compare settings, not to build the defence."""
    built = []
    original = DefenseConfig.build

    def build(self, classifier):
        built.append(self.hyperparameters)
        return original(self, classifier)

    monkeypatch.setattr(DefenseConfig, "build", build)
    defense = train_defense(plain, run=RunDirectory(tmp_path / "run"))
    assert len(built) == 1
    assert built[0] is plain.defense.hyperparameters
    assert defense.config is plain.defense.hyperparameters
