"""A frozen network computes the same without its batch normalisations."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from tfdefense.classifiers import CLASSIFIERS
from tfdefense.training.folded_batch_norm import use_folded_batch_norm
from tfdefense.training.fused_batch_norm import use_fused_batch_norm
from tfdefense.training.mixed_precision import compute_in
from tfdefense.training.nested_layers import collect_nested_layers

IMAGES = tf.random.stateless_uniform((4, 16, 16, 3), seed=(1, 2))


def draw_weights(network):
    """Give all weights random values; variances and scales are positive."""
    for number, variable in enumerate(network.variables):
        is_positive = variable.name in ("gamma", "moving_variance")
        size = 1.0 if is_positive or variable.name != "kernel" else 0.3
        lowest = 0.5 if is_positive else -size
        variable.assign(
            tf.random.stateless_uniform(variable.shape, (3, number), lowest, lowest + 2 * size)
        )
    return network


def logits_and_gradients(network):
    """Return logits and image gradients of one traced call, and its operations."""

    @tf.function(autograph=False)
    def call(images):
        with tf.GradientTape() as tape:
            tape.watch(images)
            logits = tf.cast(network(images, training=False), tf.float32)
            loss = tf.reduce_sum(tf.tanh(logits))
        return logits, tape.gradient(loss, images)

    graph = call.get_concrete_function(IMAGES).graph
    return call(IMAGES), [operation.type for operation in graph.get_operations()]


def make_network(**options):
    layers = keras.layers
    return draw_weights(
        keras.Sequential(
            [
                keras.Input(IMAGES.shape[1:]),
                layers.Conv2D(6, 3, use_bias=options.pop("use_bias", True)),
                layers.BatchNormalization(**options),
                layers.ReLU(),
                layers.Conv2D(5, 3, 2),
                layers.BatchNormalization(),
                layers.Flatten(),
                layers.Dense(4),
            ]
        )
    )


@pytest.mark.parametrize(
    "options", [{}, {"use_bias": False}, {"scale": False}, {"center": False}, {"axis": 3}]
)
def test_logits_and_gradients_equal_those_of_keras(options):
    network = make_network(**options)
    expected, usual = logits_and_gradients(network)
    with use_folded_batch_norm([network]):
        measured, operations = logits_and_gradients(network)
    assert usual.count("Rsqrt") == operations.count("Rsqrt") == 2
    assert len(operations) < len(usual)
    for one, other in zip(measured, expected, strict=True):
        np.testing.assert_allclose(one, other, rtol=2e-4, atol=2e-5)


@pytest.mark.parametrize("name", ["cifar_cnn", "resnet18"])
def test_all_normalisations_of_classifiers_of_the_papers_are_folded(name):
    network = draw_weights(CLASSIFIERS.get(name).build(IMAGES.shape[1:], 5))
    expected = network(IMAGES, training=False)
    norms = [
        layer
        for layer in collect_nested_layers([network])
        if isinstance(layer, keras.layers.BatchNormalization)
    ]
    with use_folded_batch_norm([network]), use_fused_batch_norm([network]):
        for norm in norms:
            features = tf.ones([1, 2, 2, norm.gamma.shape[0]])
            np.testing.assert_array_equal(norm(features), features)
        (measured, _), _ = logits_and_gradients(network)
    size = np.abs(expected).max()
    np.testing.assert_allclose(measured / size, expected / size, atol=1e-5)


def test_bfloat16_logits_are_those_of_float32_up_to_rounding():
    network = make_network()
    (expected, _), _ = logits_and_gradients(network)
    with compute_in([network], "bfloat16"):
        _, usual = logits_and_gradients(network)
        with use_folded_batch_norm([network]):
            (measured, _), operations = logits_and_gradients(network)
    assert len(operations) < len(usual)
    assert np.abs(measured - expected).max() <= 0.03 * np.abs(expected).max()


def make_branched(kind):
    """Return a network whose normalisation must stay, for the reason that `kind` names."""
    layers = keras.layers
    images = keras.Input(IMAGES.shape[1:])
    if kind == "activation":
        hidden = layers.Conv2D(4, 3, activation="tanh")(images)
        outputs = layers.BatchNormalization()(hidden)
    elif kind == "two readers":
        hidden = layers.Conv2D(4, 3)(images)
        outputs = layers.BatchNormalization()(hidden) + hidden
    elif kind == "used twice":
        convolution = layers.Conv2D(3, 3, padding="same")
        outputs = convolution(layers.BatchNormalization()(convolution(images)))
    elif kind == "output":
        hidden = layers.Conv2D(4, 3)(images)
        return keras.Model(images, [layers.BatchNormalization()(hidden), hidden])
    else:
        hidden = layers.Activation("relu")(layers.Conv2D(4, 3)(images))
        outputs = layers.BatchNormalization()(hidden)
    return keras.Model(images, outputs)


@pytest.mark.parametrize("kind", ["activation", "two readers", "used twice", "output", "between"])
def test_a_normalisation_that_cannot_be_folded_stays(kind):
    network = draw_weights(make_branched(kind))
    expected = network(IMAGES, training=False)
    with use_folded_batch_norm([network]):
        measured = network(IMAGES, training=False)
    for one, other in zip(tf.nest.flatten(measured), tf.nest.flatten(expected), strict=True):
        np.testing.assert_array_equal(one, other)


class SubclassedModel(keras.Model):
    """Model with code of its own, which calls a layer of its inner network twice."""

    def __init__(self):
        super().__init__()
        images = keras.Input(IMAGES.shape[1:])
        self.convolution = keras.layers.Conv2D(4, 3)
        self.norm = keras.layers.BatchNormalization()
        self.network = keras.Model(images, self.norm(self.convolution(images)))

    def call(self, images, *, training=False):
        return self.network(images, training=training) + self.convolution(images)


def test_layers_of_a_subclassed_model_stay():
    network = draw_weights(SubclassedModel())
    expected = network(IMAGES)
    with use_folded_batch_norm([network]):
        np.testing.assert_array_equal(network(IMAGES), expected)
        network(IMAGES, training=True)


@pytest.mark.parametrize("dtype", ["float64", "float16"])
def test_weights_that_are_not_float32_stay(dtype):
    layers = keras.layers
    network = keras.Sequential(
        [
            keras.Input(IMAGES.shape[1:], dtype=dtype),
            layers.Conv2D(4, 3, dtype=dtype),
            layers.BatchNormalization(dtype=dtype),
        ]
    )
    images = tf.cast(IMAGES, dtype)
    expected = network(images)
    with use_folded_batch_norm([network]):
        np.testing.assert_array_equal(network(images), expected)


def test_the_network_is_unchanged_outside():
    network = make_network()
    before = network(IMAGES, training=True)
    with use_folded_batch_norm([network]):
        pass
    np.testing.assert_array_equal(network(IMAGES, training=True), before)
