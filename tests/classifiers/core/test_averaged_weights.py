import dataclasses

import keras
import numpy as np
import pytest
import tensorflow as tf

from tests.broken_training import break_at
from tests.training.test_global_batch import make_model_with_dropout_and_norm
from tfdefense.classifiers import ClassifierConfig, ClassifierTraining
from tfdefense.classifiers.core import averaged_weights, classifier_training
from tfdefense.classifiers.core.architecture import Architecture, Recipe
from tfdefense.classifiers.core.averaged_weights import AveragedWeights
from tfdefense.data import Dataset
from tfdefense.training import LoopConfig
from tfdefense.training.averaging_optimizers import AveragingAdam, AveragingSGD

NORMALIZED = Architecture(
    "normalized",
    "dropout and batch normalization",
    make_model_with_dropout_and_norm,
    grey=Recipe(batch_size=8, learning_rate=1e-2, training_images=72),
)


def make_training(split, **given):
    data = Dataset("toy", split, split, split, source="toy")
    return ClassifierTraining(NORMALIZED, data, config=ClassifierConfig(**given))


def take_steps(model, optimizer, images, labels, count):
    """Return the trainable weights after each step."""
    history = []
    for _ in range(count):
        with tf.GradientTape() as tape:
            logits = model(images, training=True)
            loss = tf.reduce_mean(
                keras.losses.sparse_categorical_crossentropy(labels, logits, from_logits=True)
            )
        variables = model.trainable_variables
        optimizer.apply(tape.gradient(loss, variables), variables)
        history.append([np.array(variable) for variable in variables])
    return history


@pytest.mark.parametrize("kind", [AveragingAdam, AveragingSGD])
def test_in_the_block_the_model_has_its_averaged_weights(toy_split, kind):
    model = make_model_with_dropout_and_norm()
    optimizer = kind(0.05, average=0.3)
    optimizer.build(model.trainable_variables)
    averaged = AveragedWeights(model, optimizer, toy_split, LoopConfig(1, batch_size=8))
    history = take_steps(model, optimizer, toy_split.images, toy_split.labels, 4)
    expected = history[0]
    for step, weights in enumerate(history[1:], start=1):
        momentum = min(0.3, (1 + step) / (10 + step))
        expected = [
            momentum * a + (1 - momentum) * b for a, b in zip(expected, weights, strict=True)
        ]
    last = [np.array(variable) for variable in model.variables]
    with averaged.in_use():
        for variable, value in zip(model.trainable_variables, expected, strict=True):
            np.testing.assert_allclose(variable, value, rtol=1e-4, atol=1e-6)
        assert any(np.any(a != b) for a, b in zip(history[-1], expected, strict=True))
    for variable, value in zip(model.variables, last, strict=True):
        np.testing.assert_array_equal(variable, value, err_msg=variable.path)


def make_two_norms():
    keras.utils.set_random_seed(1)
    layers = [
        keras.layers.Conv2D(4, 3, strides=2),
        keras.layers.BatchNormalization(momentum=0.9),
        keras.layers.ReLU(),
        keras.layers.Conv2D(4, 3),
        keras.layers.BatchNormalization(),
        keras.layers.Flatten(),
        keras.layers.Dense(3),
    ]
    return keras.Sequential([keras.Input((12, 12, 1)), *layers])


def test_the_statistics_are_those_of_training_images_with_the_averaged_weights(toy_split):
    model = make_two_norms()
    optimizer = AveragingSGD(0.5, average=0.5)
    optimizer.build(model.trainable_variables)
    averaged = AveragedWeights(model, optimizer, toy_split, LoopConfig(1, batch_size=24))
    take_steps(model, optimizer, toy_split.images, toy_split.labels, 3)
    norms = [model.layers[1], model.layers[4]]
    old = [np.array(norm.moving_mean) for norm in norms]
    with averaged.in_use():
        features = toy_split.images
        for layer in model.layers[:5]:
            if layer not in norms:
                features = np.array(layer(features))
                continue
            mean, variance = features.mean(axis=(0, 1, 2)), features.var(axis=(0, 1, 2))
            np.testing.assert_allclose(layer.moving_mean, mean, rtol=1e-3, atol=1e-5)
            np.testing.assert_allclose(layer.moving_variance, variance, rtol=1e-3, atol=1e-5)
            features = (features - mean) / np.sqrt(variance + layer.epsilon)
            features = features * np.array(layer.gamma) + np.array(layer.beta)
        assert all(np.any(np.array(n.moving_mean) != m) for n, m in zip(norms, old, strict=True))
    assert [norm.momentum for norm in norms] == [0.9, 0.99]


def test_statistics_of_several_batches_are_those_of_all_their_images(toy_split, monkeypatch):
    """The first normalization has the same inputs in any batch. 16 of 24 images are used."""
    monkeypatch.setattr(averaged_weights, "_STATISTICS_IMAGES", 20)
    model = make_two_norms()
    optimizer = AveragingSGD(0.5, average=0.5)
    optimizer.build(model.trainable_variables)
    loop = LoopConfig(1, batch_size=8, seed=4)
    averaged = AveragedWeights(model, optimizer, toy_split, loop)
    take_steps(model, optimizer, toy_split.images, toy_split.labels, 2)
    with averaged.in_use():
        used = np.random.default_rng(4).permutation(24)[:16]
        features = np.array(model.layers[0](toy_split.images[used]))
        norm = model.layers[1]
        np.testing.assert_allclose(norm.moving_mean, features.mean(axis=(0, 1, 2)), atol=1e-5)
        np.testing.assert_allclose(norm.moving_variance, features.var(axis=(0, 1, 2)), rtol=1e-4)


def test_without_an_average_the_model_is_left_alone(toy_split):
    training = make_training(toy_split)
    before = training.model.get_weights()
    with training._averaged.in_use():
        for a, b in zip(before, training.model.get_weights(), strict=True):
            np.testing.assert_array_equal(a, b)
    assert not training.optimizer.use_ema


@pytest.mark.slow
def test_the_network_that_is_judged_is_the_network_that_is_kept(toy_split, monkeypatch):
    training = make_training(toy_split, average=0.9, patience=0)
    losses, judged = iter(np.linspace(1, 0, 100)), []

    def record(infer, split):
        judged.append(training.model.get_weights())
        return np.ones(len(split), bool), np.full(len(split), next(losses))

    monkeypatch.setattr(classifier_training, "measure_split", record)
    model = training.fit()
    averages = [np.array(each) for each in training.optimizer._model_variables_moving_average]
    for variable, value in zip(model.trainable_variables, averages, strict=True):
        np.testing.assert_array_equal(variable, value)
    for weight, value in zip(model.get_weights(), judged[-1], strict=True):
        np.testing.assert_array_equal(weight, value)


@pytest.mark.slow
def test_a_resumed_training_ends_with_the_weights_of_an_uninterrupted_one(toy_split, tmp_path):
    def train_in(place, step=None):
        training = make_training(toy_split, average=0.9, epochs=4)
        training.loop = dataclasses.replace(training.loop, checkpoint_seconds=0.0)
        if step is not None:
            break_at(training, step)
            with pytest.raises(tf.errors.InvalidArgumentError):
                training.fit(place)
            return None
        return training.fit(place)

    whole = train_in(tmp_path / "whole")
    train_in(tmp_path / "broken", step=7)
    resumed = train_in(tmp_path / "broken")
    for a, b in zip(whole.get_weights(), resumed.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)
