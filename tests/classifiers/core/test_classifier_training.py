import dataclasses
import functools
import json

import keras
import numpy as np
import pytest
import tensorflow as tf

import tfdefense
from tfdefense.classifiers import ClassifierConfig, mnist_cnn
from tfdefense.classifiers.core import cached_training
from tfdefense.classifiers.core.architecture import Architecture, Recipe
from tfdefense.classifiers.core.augmentation import AUGMENTATIONS, augment
from tfdefense.classifiers.core.classifier_training import ClassifierTraining
from tfdefense.errors import UserError
from tfdefense.training import Replica
from tfdefense.training.best_weights import BestWeights
from tfdefense.training.run_directory import RunDirectory


def linear(image_shape, num_classes):
    layers = [keras.layers.Flatten(), keras.layers.Dense(num_classes)]
    return keras.Sequential([keras.Input(image_shape), *layers], name="linear")


LINEAR = Architecture("linear", "for tests", linear, grey=Recipe(training_images=12_000))


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"optimizer": "sdg"}, "--optimizer 'sdg'. Did you mean 'sgd'"),
        ({"augmentation": "flip"}, "--augmentation 'flip'. Did you mean 'shift_flip'"),
        ({"epochs": 0}, "--epochs=0: 1 or more"),
        ({"patience": -1}, "--patience=-1: 0 or more"),
        ({"label_smoothing": 1.0}, r"--label_smoothing=1.0: a number in \[0, 1\)"),
        ({"weight_decay": -1e-3}, "--weight_decay=-0.001: 0 or more"),
        ({"learning_rate": 0.0}, "--learning_rate=0.0: more than 0"),
    ],
)
def test_bad_hyperparameters_are_named(given, message):
    with pytest.raises(UserError, match=message):
        ClassifierConfig(**given)


def test_what_is_given_takes_the_recipes_place(digits):
    given = ClassifierConfig(epochs=2, batch_size=100, optimizer="sgd", learning_rate=0.3)
    training = ClassifierTraining(LINEAR, digits, config=given)
    settings = training.settings()
    assert (settings["epochs"], settings["batch_size"], settings["optimizer"]) == (2, 100, "sgd")
    assert settings["augmentation"] == LINEAR.grey.augmentation


def test_sgd_warms_up_and_falls_to_zero(digits):
    given = ClassifierConfig(epochs=40, optimizer="sgd", learning_rate=0.3)
    training = ClassifierTraining(LINEAR, digits, config=given)
    steps = training.loop.total_steps(len(digits.train))
    rates = [float(training.optimizer._learning_rate(step)) for step in range(steps + 1)]
    assert rates[0] == 0
    assert max(rates) == pytest.approx(0.3)
    assert np.argmax(rates) == steps // 20
    assert rates[-1] == pytest.approx(0, abs=1e-6)


def test_weight_decay_spares_biases(digits):
    """At a gradient of zero, decay alone moves the weights."""
    given = ClassifierConfig(epochs=1, optimizer="sgd", weight_decay=0.5, learning_rate=0.1)
    training = ClassifierTraining(LINEAR, digits, config=given)
    training.optimizer.iterations.assign(1)  # At its first step the rate is zero.
    for variable in training.model.trainable_variables:
        variable.assign(tf.ones_like(variable))
    variables = training.model.trainable_variables
    training.optimizer.apply([tf.zeros_like(v) for v in variables], variables)
    kernel, bias = (variable.numpy() for variable in variables)
    assert np.all(kernel < 1)
    np.testing.assert_array_equal(bias, np.ones_like(bias))


def test_best_weights_come_back():
    model = linear((2, 2, 1), 2)
    best = BestWeights(model)
    before = model.get_weights()
    best.restore()
    np.testing.assert_array_equal(model.get_weights()[0], before[0])
    history = []
    for score, value in ((0.5, 1.0), (0.7, 2.0), (0.6, 3.0), (0.65, 4.0)):
        model.set_weights([np.full_like(w, value) for w in before])
        best.update(score)
        history.append(best.scores_since_best)
    assert history == [0, 0, 1, 2]
    best.restore()
    assert np.all(model.get_weights()[0] == 2.0)
    best.update(0.7)
    assert best.scores_since_best == 0, "as good as the best counts"


def test_training_stops_when_validation_stops_improving(digits, tmp_path, monkeypatch):
    losses = iter([0.5, 0.1, 0.2, 0.3, 0.4, 0.5])
    hits = {}

    def scripted(infer, split):
        del infer
        hits["n"] = hits.get("n", 0) + 1
        return np.ones(len(split), bool), np.full(len(split), next(losses))

    monkeypatch.setattr("tfdefense.classifiers.training.measured", scripted)
    training = ClassifierTraining(LINEAR, digits, config=ClassifierConfig(patience=2))
    training.fit(tmp_path / "run")
    assert hits["n"] == 4
    assert training.best.score == pytest.approx(-0.1)
    again = ClassifierTraining(LINEAR, digits, config=ClassifierConfig(patience=2))
    again.fit(tmp_path / "run")
    assert hits["n"] == 4, "a training that was stopped is finished"
    np.testing.assert_array_equal(again.model.get_weights()[0], training.model.get_weights()[0])


def test_a_broken_training_ends_with_the_weights_of_an_unbroken_one(digits, tmp_path):
    given = ClassifierConfig(epochs=6, augmentation="affine", optimizer="sgd", learning_rate=0.05)

    def trained_in(place, break_at=None):
        training = ClassifierTraining(LINEAR, digits, config=given)
        if break_at is not None:
            step = training.train_step

            def breaking(batch, replica):
                tf.debugging.assert_less(replica.step, tf.constant(break_at, tf.int64))
                return step(batch, replica)

            training.train_step = breaking
            training.loop = dataclasses.replace(training.loop, checkpoint_seconds=0.0)
            with pytest.raises(tf.errors.InvalidArgumentError):
                training.fit(place)
            return None
        training.fit(place)
        return training

    whole = trained_in(tmp_path / "whole")
    trained_in(tmp_path / "broken", break_at=30)
    resumed = trained_in(tmp_path / "broken")
    for a, b in zip(whole.model.get_weights(), resumed.model.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)
    assert resumed.best.score == whole.best.score
    assert resumed.seconds > 0


def test_a_run_of_a_classifier_holds_its_summary(digits, tmp_path, capsys):
    run = RunDirectory(tmp_path / "digits-linear")
    classifier = cached_training.train_classifier(LINEAR, digits, run, config=ClassifierConfig(epochs=2))
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
    with pytest.raises(UserError, match=r"is a classifier of --dataset=digits, one of"):
        cached_training.load_or_train(LINEAR, other, tmp_path)


@pytest.mark.parametrize(("one", "other"), [(0, 5), (5, 0)])
def test_a_classifier_of_another_split_is_refused(toy_split, tmp_path, one, other):
    """It was trained on some of what are test images now."""
    np.savez(
        tmp_path / "toy.npz",
        images=np.tile(toy_split.images, (4, 1, 1, 1)),
        labels=np.tile(toy_split.labels, 4),
    )
    load = functools.partial(tfdefense.data.load, f"npz:{tmp_path / 'toy.npz'}")
    cached_training.train_classifier(
        LINEAR,
        load(split_seed=one),
        cached_training.locate_run(LINEAR, load(), tmp_path),
        config=ClassifierConfig(epochs=1),
    )
    with pytest.raises(UserError, match="split_seed=5"):
        cached_training.load_or_train(LINEAR, load(split_seed=other), tmp_path)


def test_what_somebody_began_with_settings_of_her_own_is_gone_on_with(digits, tmp_path):
    run = RunDirectory(tmp_path / "digits-linear")
    cached_training.train_classifier(LINEAR, digits, run, seed=3, config=ClassifierConfig(epochs=2, label_smoothing=0.1))
    run.classifier_path.unlink()
    again = cached_training.load_or_train(LINEAR, digits, tmp_path)
    assert run.read_config().settings["epochs"] == 2
    assert again.num_classes == 10
    with pytest.raises(UserError, match=r"another --epochs \(2 there\), --label_smoothing"):
        cached_training.train_classifier(LINEAR, digits, run, seed=3)


@pytest.mark.parametrize("name", AUGMENTATIONS)
def test_augmentation_keeps_range_and_is_a_function_of_seed_and_step(digits, name):
    images = tf.constant(digits.train.images[:32])

    def at(step):
        return augment(images, name, Replica(0, tf.constant(step, tf.int64), 32)).numpy()

    first = at(1)
    assert first.shape == images.shape
    assert first.min() >= 0
    assert first.max() <= 1
    np.testing.assert_array_equal(first, at(1))
    assert np.array_equal(first, at(2)) == (name == "none")


def test_shifts_are_whole_pixels_and_flips_are_mirrors():
    rng = np.random.default_rng(0)
    images = rng.random((64, 16, 16, 3)).astype(np.float32)
    moved = augment(tf.constant(images), "shift_flip", Replica(0, tf.constant(5, tf.int64), 64))
    kinds = set()
    for image, result in zip(images, moved.numpy(), strict=True):
        matches = [
            (flip, down, right)
            for flip in (False, True)
            for down in range(-2, 3)
            for right in range(-2, 3)
            if np.array_equal(
                np.roll(image[:, ::-1] if flip else image, (down, right), (0, 1))[3:-3, 3:-3],
                result[3:-3, 3:-3],
            )
        ]
        assert len(matches) == 1
        kinds.add(matches[0])
    assert len(kinds) > 15
    assert {flip for flip, _, _ in kinds} == {False, True}


def test_affine_keeps_digits_where_they_are(digits):
    """Its mean over many draws is a blur of the image, centred where the image is."""
    image = digits.train.images[:1]
    batch = tf.constant(np.repeat(image, 400, axis=0))
    moved = augment(batch, "affine", Replica(0, tf.constant(0, tf.int64), 400)).numpy()

    def centre(picture):
        weights = picture[..., 0] / picture.sum()
        grid = np.arange(28)
        return np.array([(weights.sum(1) * grid).sum(), (weights.sum(0) * grid).sum()])

    np.testing.assert_allclose(centre(moved.mean(0)), centre(image[0]), atol=0.3)
    assert np.std([centre(picture) for picture in moved], axis=0).min() > 0.5
    assert moved[:, 0].max() < 0.5, "black comes in at the edges"


def test_mnist_cnn_is_trained_as_before(digits):
    settings = ClassifierTraining(mnist_cnn.MNIST_CNN, digits).settings()
    assert settings["augmentation"] == "none"
    assert tfdefense.classifiers.default_for(digits.image_shape) == "mnist_cnn"
