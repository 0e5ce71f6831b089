import dataclasses
import functools
import json
import shlex

import keras
import numpy as np
import pytest

import tfdefense
from tfdefense.classifiers import ClassifierConfig
from tfdefense.classifiers.core import cached_training
from tfdefense.classifiers.core.architecture import Architecture, Recipe
from tfdefense.classifiers.core.classifier_training import ClassifierTraining
from tfdefense.cli import train
from tfdefense.cli.input_flags import parse_inputs
from tfdefense.errors import UserError
from tfdefense.experiments.classifier_config import ClassifierExperiment
from tfdefense.experiments.from_flags import classifier_experiment_from_flags
from tfdefense.experiments.inputs import DataConfig
from tfdefense.training.run_directory import RunDirectory
from tfdefense.training.stored_config import StoredConfig


def linear(image_shape, num_classes):
    layers = [keras.layers.Flatten(), keras.layers.Dense(num_classes)]
    return keras.Sequential([keras.Input(image_shape), *layers], name="linear")


LINEAR = Architecture("linear", "for tests", linear, grey=Recipe(training_images=12_000))


def test_the_run_of_a_classifier_holds_its_summary(digits, tmp_path, capsys):
    run = RunDirectory(tmp_path / "digits-linear")
    training = ClassifierTraining(LINEAR, digits, config=ClassifierConfig(epochs=2))
    classifier = cached_training.train_classifier(training, run)
    measured = json.loads((run.path / "summary.json").read_text())
    right = np.argmax(classifier(digits.test.images), -1) == digits.test.labels
    assert measured["accuracy"] == pytest.approx(right.mean())
    assert measured["n"] == 360
    assert measured["ci_low"] < measured["accuracy"] < measured["ci_high"]
    assert measured["parameters"] == 7_850
    assert "7,850 parameters, test accuracy" in capsys.readouterr().out
    found = cached_training.load_or_train(LINEAR, digits, tmp_path)
    np.testing.assert_array_equal(found.model.get_weights()[0], classifier.model.get_weights()[0])
    other = dataclasses.replace(digits, source="dir:/elsewhere")
    with pytest.raises(UserError, match=r"is a classifier of --dataset=digits; one of"):
        cached_training.load_or_train(LINEAR, other, tmp_path)
    changed = dataclasses.replace(digits, train=digits.train.take(500))
    with pytest.raises(
        UserError, match="was trained on other images: those of digits have changed"
    ):
        cached_training.load_or_train(LINEAR, changed, tmp_path)


def test_a_classifier_of_the_same_images_at_another_path_is_used(digits, tmp_path):
    there, here = (dataclasses.replace(digits, source=f"dir:/{at}/pets") for at in ("old", "new"))
    training = ClassifierTraining(LINEAR, there, config=ClassifierConfig(epochs=1))
    run = cached_training.locate_run(LINEAR, there, tmp_path)
    trained = cached_training.train_classifier(training, run)
    found = cached_training.load_or_train(LINEAR, here, tmp_path)
    np.testing.assert_array_equal(found.model.get_weights()[0], trained.model.get_weights()[0])


@pytest.mark.parametrize(("one", "other"), [(0, 5), (5, 0)])
def test_a_classifier_of_another_split_is_an_error(toy_split, tmp_path, one, other):
    """Some of its training images are test images now."""
    np.savez(
        tmp_path / "toy.npz",
        images=np.tile(toy_split.images, (4, 1, 1, 1)),
        labels=np.tile(toy_split.labels, 4),
    )
    load = functools.partial(tfdefense.data.load, f"npz:{tmp_path / 'toy.npz'}")
    config = ClassifierConfig(epochs=1)
    training = ClassifierTraining(LINEAR, load(split_seed=one), config=config)
    cached_training.train_classifier(training, cached_training.locate_run(LINEAR, load(), tmp_path))
    with pytest.raises(UserError, match="split_seed=5"):
        cached_training.load_or_train(LINEAR, load(split_seed=other), tmp_path)


def test_the_command_for_a_classifier_of_changed_images_trains_the_same_one(digits, tmp_path):
    options = {"image_size": [32, 48], "channels": 3, "split_seed": 5, "skip_corrupt": True}
    source = "dir:/data/my pictures"
    data = dataclasses.replace(digits, source=source, options=options, data_dir="/data")
    run = RunDirectory(tmp_path / "my run")
    settings = {**data.settings(), "classifier": "lenet"}
    run.create_or_reuse(StoredConfig("classifier", settings, {"images": "others"}))
    with pytest.raises(UserError, match="have changed since") as error:
        cached_training.require_matching_run(run, data)
    words = shlex.split(str(error.value).split(" if it had any: ")[1])
    assert words.pop(0) == "bin/train"
    given = parse_inputs(train.command_flags().parse(words))
    own = {"run": str(run.path), "overwrite": True, "data_dir": "/data"}
    assert given.items() >= own.items()
    rest = {name: given[name] for name in given.keys() - own.keys()}
    expected = ClassifierExperiment("lenet", DataConfig.of_dataset(data))
    assert classifier_experiment_from_flags(rest) == expected


def test_an_unfinished_run_is_resumed_with_its_stored_settings(digits, tmp_path):
    run = RunDirectory(tmp_path / "digits-linear")
    config = ClassifierConfig(epochs=2, label_smoothing=0.1)
    cached_training.train_classifier(ClassifierTraining(LINEAR, digits, 3, config), run)
    run.classifier_path.unlink()
    again = cached_training.load_or_train(LINEAR, digits, tmp_path)
    assert run.read_config().settings["epochs"] == 2
    assert again.num_classes == 10
    with pytest.raises(
        UserError, match=r"other settings: --epochs=2 \(10 now\), --label_smoothing=0.1"
    ):
        cached_training.train_classifier(ClassifierTraining(LINEAR, digits, 3), run)
