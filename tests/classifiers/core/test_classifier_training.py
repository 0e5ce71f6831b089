import dataclasses
import itertools

import keras
import numpy as np
import pytest
import scipy.special
import tensorflow as tf

import tfdefense
from tests.broken_training import break_at
from tfdefense.classifiers import ClassifierConfig, mnist_cnn, resnet
from tfdefense.classifiers.core import classifier_training
from tfdefense.classifiers.core.architecture import Architecture, Recipe
from tfdefense.classifiers.core.augmentation import is_mirrored
from tfdefense.classifiers.core.classifier_training import ClassifierTraining
from tfdefense.data.core.batches import shuffled_batches
from tfdefense.errors import UserError
from tfdefense.training import Replica
from tfdefense.training.best_weights import BestWeights


def linear(image_shape, num_classes):
    layers = [keras.layers.Flatten(), keras.layers.Dense(num_classes)]
    return keras.Sequential([keras.Input(image_shape), *layers], name="linear")


LINEAR = Architecture("linear", "for tests", linear, grey=Recipe(training_images=12_000))


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"optimizer": "sdg"}, "--optimizer 'sdg'. Did you mean 'sgd'"),
        (
            {"augmentation": "flip"},
            r"unknown --augmentation 'flip'.*Known: affine, none, photo, shift",
        ),
        ({"augmentation": "shift_flip"}, "now --augmentation=shift and --mirror"),
        ({"schedule": "triangel"}, "--schedule 'triangel'. Did you mean 'triangle'"),
        ({"cutout": -1}, "--cutout=-1: 0 or more"),
        ({"epochs": 0}, "--epochs=0: 1 or more"),
        ({"patience": -1}, "--patience=-1: 0 or more"),
        ({"label_smoothing": 1.0}, r"--label_smoothing=1.0: a number in \[0, 1\)"),
        ({"average": 1.0}, r"--average=1.0: a number in \[0, 1\)"),
        ({"average": -0.1}, r"--average=-0.1: a number in \[0, 1\)"),
        ({"weight_decay": -1e-3}, "--weight_decay=-0.001: 0 or more"),
        ({"learning_rate": 0.0}, "--learning_rate=0.0: more than 0"),
    ],
)
def test_errors_name_bad_hyperparameters(given, message):
    with pytest.raises(UserError, match=message):
        ClassifierConfig(**given)


def test_another_optimizer_needs_a_learning_rate():
    other = "adam" if LINEAR.grey.optimizer == "sgd" else "sgd"
    with pytest.raises(UserError, match=rf"--optimizer={other}: .*Give --learning_rate too"):
        ClassifierConfig(optimizer=other).apply_to(LINEAR.grey)
    ClassifierConfig(optimizer=LINEAR.grey.optimizer).apply_to(LINEAR.grey)
    changed = ClassifierConfig(optimizer=other, learning_rate=0.5).apply_to(LINEAR.grey)
    assert (changed.optimizer, changed.learning_rate) == (other, 0.5)


def test_given_hyperparameters_replace_those_of_the_recipe(digits):
    given = ClassifierConfig(epochs=2, batch_size=100, optimizer="sgd", learning_rate=0.3)
    training = ClassifierTraining(LINEAR, digits, config=given)
    settings = training.settings()
    assert (settings["epochs"], settings["batch_size"], settings["optimizer"]) == (2, 100, "sgd")
    assert settings["augmentation"] == LINEAR.grey.augmentation


@pytest.mark.slow
def test_the_learning_rate_of_sgd_warms_up_and_falls_to_zero(digits):
    given = ClassifierConfig(epochs=40, optimizer="sgd", learning_rate=0.3)
    training = ClassifierTraining(LINEAR, digits, config=given)
    steps = training.loop.total_steps(len(digits.train))
    rates = [float(training.optimizer._learning_rate(step)) for step in range(steps + 1)]
    assert rates[0] == 0
    assert max(rates) == pytest.approx(0.3)
    assert np.argmax(rates) == steps // 20
    assert rates[-1] == pytest.approx(0, abs=1e-6)


def test_the_triangle_rises_for_a_fifth_of_the_steps_and_falls_to_zero(digits):
    given = ClassifierConfig(epochs=40, schedule="triangle", learning_rate=0.3)
    training = ClassifierTraining(LINEAR, digits, config=given)
    steps = training.loop.total_steps(len(digits.train))
    rates = [float(training.optimizer._learning_rate(step)) for step in range(steps)]
    assert 0 < min(rates) < 0.3 / 50
    assert max(rates) == pytest.approx(0.3, rel=0.02)
    assert np.argmax(rates) == pytest.approx(steps / 5, abs=1)
    assert training.settings()["schedule"] == "triangle"


def make_small_data(source, count=12):
    images = np.random.default_rng(0).random((count, 16, 16, 3)).astype(np.float32)
    split = tfdefense.data.Split(images, np.arange(count) % 2, num_classes=2, dataset="small")
    return tfdefense.data.Dataset("small", split, split, split, source=source)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"cutout": 16}, "--cutout=16: images of 16x16 given, a side below 16 needed"),
        ({"mirror": True}, "--mirror: a mirrored image of small has another class"),
    ],
)
def test_errors_name_settings_that_do_not_fit_the_images(given, message):
    with pytest.raises(UserError, match=message):
        ClassifierTraining(LINEAR, make_small_data("gtsrb"), config=ClassifierConfig(**given))


def test_images_that_are_too_small_for_the_network_are_no_fault_of_its_recipe():
    split = make_small_data("cifar10").train
    images = np.ascontiguousarray(split.images[:, :8, :8])
    small = tfdefense.data.Split(images, split.labels, num_classes=2, dataset="small")
    data = tfdefense.data.Dataset("small", small, small, small)
    with pytest.raises(
        UserError, match=r"--classifier=resnet18: images of \(8, 8, 3\) given, 16x16"
    ):
        ClassifierTraining(resnet.RESNET18, data)


@pytest.mark.parametrize(
    ("source", "given", "expected"),
    [
        ("cifar10", None, True),
        ("cifar10", False, False),
        ("gtsrb", None, False),
        ("dir:products", None, False),
        ("dir:products", True, True),
    ],
)
def test_images_are_mirrored_where_the_data_keep_their_class(source, given, expected):
    config = ClassifierConfig(mirror=given)
    training = ClassifierTraining(LINEAR, make_small_data(source), config=config)
    assert training.augmentation.mirror is training.settings()["mirror"] is expected


def test_settings_of_runs_of_older_versions_are_unchanged(digits):
    settings = ClassifierTraining(LINEAR, digits).settings()
    assert not settings.keys() & {"schedule", "mirror", "cutout", "average"}
    given = ClassifierConfig(average=0.99)
    assert ClassifierTraining(LINEAR, digits, config=given).settings()["average"] == 0.99


def test_every_image_is_mirrored_in_every_second_pass():
    """Batches of 5 do not divide the 12 images, so a batch has images of two passes."""
    config = ClassifierConfig(batch_size=5, augmentation="none")
    training = ClassifierTraining(LINEAR, make_small_data("cifar10"), config=config)
    arrays = training.training_arrays()
    shown = {}
    augmentation = training.augmentation
    batches = iter(shuffled_batches({**arrays, "index": np.arange(12)}, 5, seed=0))
    for number in range(12):  # Five passes over 12 images.
        batch = next(batches)
        replica = Replica(0, tf.constant(number, tf.int64), 5)
        mirrored = is_mirrored(batch["mirrored_first"], replica.passes(12))
        for index, image, result in zip(
            batch["index"].numpy(),
            batch["images"],
            augmentation.apply(batch["images"], replica, mirrored),
            strict=True,
        ):
            is_mirror = np.array_equal(result, image[:, ::-1])
            assert is_mirror or np.array_equal(result, image)
            shown.setdefault(index, []).append(is_mirror)
    assert all(len(each) == 5 for each in shown.values())
    assert all(a != b for each in shown.values() for a, b in itertools.pairwise(each))
    assert {each[0] for each in shown.values()} == {True, False}


def test_a_step_mirrors_the_images_by_their_pass(monkeypatch):
    """Step 3 with batches of 5 shows examples 15 to 19 of the stream over 12 images: pass 1."""
    config = ClassifierConfig(batch_size=5, augmentation="none")
    training = ClassifierTraining(LINEAR, make_small_data("cifar10"), config=config)
    given, seen = [], []
    model = training.model

    def record(mirrored_first, passes):
        given.append((mirrored_first.numpy(), passes.numpy()))
        return tf.constant([True, False, True, False, False])

    def call(images, training):
        seen.append(images.numpy())
        return model(images, training=training)

    call.trainable_variables = model.trainable_variables
    monkeypatch.setattr(classifier_training, "is_mirrored", record)
    monkeypatch.setattr(training, "model", call)
    arrays = {name: tf.constant(array[:5]) for name, array in training.training_arrays().items()}
    training.train_step(arrays, Replica(0, tf.constant(3, tf.int64), 5))
    ((mirrored_first, passes),) = given
    np.testing.assert_array_equal(mirrored_first, training.training_arrays()["mirrored_first"][:5])
    np.testing.assert_array_equal(passes, [1] * 5)
    images = training.data.train.images[:5]
    np.testing.assert_array_equal(seen[0][[0, 2]], images[[0, 2], :, ::-1])
    np.testing.assert_array_equal(seen[0][[1, 3, 4]], images[[1, 3, 4]])


def test_the_loss_is_the_cross_entropy_of_smoothed_labels(digits):
    given = ClassifierConfig(label_smoothing=0.2, batch_size=100, augmentation="none")
    training = ClassifierTraining(LINEAR, digits, config=given)
    batch = {name: tf.constant(array[:100]) for name, array in training.training_arrays().items()}
    logarithms = scipy.special.log_softmax(training.model(batch["images"]), axis=-1)
    targets = 0.8 * np.eye(10)[batch["labels"]] + 0.02
    scalars = training.train_step(batch, Replica(0, tf.constant(0, tf.int64), 100))
    expected = -np.mean(np.sum(targets * logarithms, axis=-1))
    np.testing.assert_allclose(scalars["loss"], expected, rtol=1e-5)


def test_biases_are_not_decayed(digits):
    """With gradients of zero, only the decay changes the weights."""
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


def test_the_best_weights_are_restored():
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
    assert best.scores_since_best == 0, "a score equal to the best one resets the count"
    model.set_weights([np.full_like(w, 5.0) for w in before])
    best.update(np.nan)
    assert (best.score, best.scores_since_best) == (np.float32(0.7), 1)
    best.restore()
    assert np.all(model.get_weights()[0] == 2.0), "no score, so worse than every score"


def test_training_stops_when_validation_stops_improving(digits, tmp_path, monkeypatch):
    losses = iter([0.5, 0.1, 0.2, 0.3, 0.4, 0.5])
    validations = []

    def scripted(infer, split):
        validations.append(split)
        return np.ones(len(split), bool), np.full(len(split), next(losses))

    monkeypatch.setattr(classifier_training, "measure_split", scripted)
    training = ClassifierTraining(LINEAR, digits, config=ClassifierConfig(patience=2))
    training.fit(tmp_path / "run")
    assert len(validations) == 4
    assert all(split is digits.validation for split in validations)
    assert training.best.score == pytest.approx(-0.1)
    again = ClassifierTraining(LINEAR, digits, config=ClassifierConfig(patience=2))
    again.fit(tmp_path / "run")
    assert len(validations) == 4, "a training that was stopped is finished"
    np.testing.assert_array_equal(again.model.get_weights()[0], training.model.get_weights()[0])


def test_a_triangle_stops_only_in_its_last_quarter(digits, tmp_path, monkeypatch):
    """The lowest loss is that of the first validation."""
    given = ClassifierConfig(epochs=20, schedule="triangle", patience=3)
    training = ClassifierTraining(LINEAR, digits, config=given)
    steps = training.loop.total_steps(len(digits.train))
    validated = []

    def scripted(infer, split):
        validated.append(int(training.optimizer.iterations))
        return np.ones(len(split), bool), np.full(len(split), 0.5 if validated[1:] else 0.1)

    monkeypatch.setattr(classifier_training, "measure_split", scripted)
    training.fit(tmp_path / "run")
    assert sum(step > 0.75 * steps for step in validated) == 3
    assert validated[-1] < steps
    assert training.best.score == pytest.approx(-0.1)


@pytest.mark.slow
def test_a_resumed_training_ends_with_the_weights_of_an_uninterrupted_one(digits, tmp_path):
    given = ClassifierConfig(epochs=6, augmentation="affine", optimizer="sgd", learning_rate=0.05)

    def train_in(place, step=None):
        training = ClassifierTraining(LINEAR, digits, config=given)
        if step is not None:
            break_at(training, step)
            training.loop = dataclasses.replace(training.loop, checkpoint_seconds=0.0)
            with pytest.raises(tf.errors.InvalidArgumentError):
                training.fit(place)
            return None
        training.fit(place)
        return training

    whole = train_in(tmp_path / "whole")
    train_in(tmp_path / "broken", step=30)
    resumed = train_in(tmp_path / "broken")
    for a, b in zip(whole.model.get_weights(), resumed.model.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)
    assert resumed.best.score == whole.best.score
    assert resumed.seconds > 0


def test_the_recipe_of_mnist_cnn_is_unchanged(digits):
    settings = ClassifierTraining(mnist_cnn.MNIST_CNN, digits).settings()
    assert settings["augmentation"] == "none"
    assert tfdefense.classifiers.default_for(digits.image_shape) == "mnist_cnn"


def test_large_images_are_trained_in_the_batches_that_the_settings_name():
    images = np.zeros((8, 96, 96, 3), np.float32)
    labels = np.arange(8) % 2
    split = tfdefense.data.Split(images, labels, num_classes=2, dataset="large")
    data = tfdefense.data.Dataset("large", split, split, split)
    first = ClassifierTraining(LINEAR, data)
    assert first.loop.batch_size == first.settings()["batch_size"] == 87
    stored = ClassifierConfig(epochs=first.loop.epochs, batch_size=87)
    assert ClassifierTraining(LINEAR, data, config=stored).loop == first.loop


@pytest.mark.parametrize(("step", "is_limited"), [(0, False), (19, True)])
def test_late_steps_of_sgd_limit_the_gradient(digits, step, is_limited):
    """A spike at the highest learning rate would destroy the network."""
    given = ClassifierConfig(epochs=2, optimizer="sgd", learning_rate=0.1, batch_size=100)
    training = ClassifierTraining(LINEAR, digits, config=given)
    training.optimizer.iterations.assign(5)  # At its first step the rate is zero.
    rate = float(training.optimizer.learning_rate)
    before = training.model.get_weights()
    batch = {name: tf.constant(array[:100]) for name, array in training.training_arrays().items()}
    batch["images"] *= 1e3
    norm = training.train_step(batch, Replica(0, tf.constant(step, tf.int64), 100))["gradient_norm"]
    changes = [
        after - each for after, each in zip(training.model.get_weights(), before, strict=True)
    ]
    used = np.sqrt(sum(np.sum(change**2) for change in changes)) / (1.9 * rate)  # Nesterov's.
    assert norm > 100
    np.testing.assert_allclose(used, 5.0 if is_limited else norm, rtol=1e-3)
