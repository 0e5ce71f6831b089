"""Batch normalisation in one operation equals that of Keras: outputs, gradients, statistics."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from tfdefense.training.fused_batch_norm import use_fused_batch_norm
from tfdefense.training.mixed_precision import compute_in

IMAGES = tf.random.stateless_normal((6, 5, 4, 3), seed=(1, 2), mean=2.0, stddev=3.0)
WEIGHTS = tf.random.stateless_uniform((6, 5, 4, 3), seed=(3, 4))


def make_norm(**options):
    norm = keras.layers.BatchNormalization(momentum=0.9, **options)
    norm.build(IMAGES.shape)
    for number, variable in enumerate(norm.trainable_variables):
        drawn = tf.random.stateless_uniform(
            variable.shape, seed=(5, number), minval=0.5, maxval=2.0
        )
        variable.assign(drawn)
    return norm


def train_once(norm, images=IMAGES):
    """Return the output, all gradients and the new statistics of a step, and its operations."""

    @tf.function
    def step(images):
        with tf.GradientTape() as tape:
            tape.watch(images)
            outputs = tf.cast(norm(images, training=True), tf.float32)
            loss = tf.reduce_sum(outputs * WEIGHTS)
        return outputs, *tape.gradient(loss, [images, *norm.trainable_variables])

    graph = step.get_concrete_function(images).graph
    operations = {operation.type for operation in graph.get_operations()}
    results = [*step(images), norm.moving_mean, norm.moving_variance]
    return [np.asarray(value, np.float32) for value in results], operations


@pytest.mark.parametrize("options", [{}, {"scale": False}, {"center": False}, {"axis": 3}])
def test_a_step_equals_that_of_keras(options):
    expected, _ = train_once(make_norm(**options))
    norm = make_norm(**options)
    with use_fused_batch_norm([norm]):
        measured, operations = train_once(norm)
    assert "FusedBatchNormV3" in operations
    for one, other in zip(measured, expected, strict=True):
        np.testing.assert_allclose(one, other, rtol=2e-5, atol=2e-5)


def test_a_bfloat16_step_stays_bfloat16_and_is_that_of_keras_up_to_rounding():
    expected, _ = train_once(make_norm())
    norm = make_norm()
    with compute_in([norm], "bfloat16"), use_fused_batch_norm([norm]):
        assert norm(IMAGES, training=True).dtype == tf.bfloat16
        norm.moving_mean.assign(tf.zeros(3))
        norm.moving_variance.assign(tf.ones(3))
        measured, _ = train_once(norm)
    for one, other in zip(measured, expected, strict=True):
        assert np.abs(one - other).max() <= 0.02 * np.abs(other).max()
    assert norm.moving_mean.dtype == norm.moving_variance.dtype == "float32"


@pytest.mark.parametrize("trainable", [True, False])
@pytest.mark.parametrize(("precision", "tolerance"), [("float32", 2e-6), ("bfloat16", 0.02)])
def test_inference_is_that_of_keras_in_the_dtype_of_the_network(trainable, precision, tolerance):
    norm = make_norm(trainable=trainable)
    norm.moving_mean.assign([1.0, -2.0, 0.5])
    norm.moving_variance.assign([4.0, 0.1, 1.0])
    expected = norm(IMAGES, training=False)
    with compute_in([norm], precision), use_fused_batch_norm([norm]):
        measured = norm(IMAGES, training=not trainable)
    assert measured.dtype == precision
    error = np.abs(tf.cast(measured, tf.float32) - expected).max()
    assert error <= tolerance * np.abs(expected).max()


class SubclassedNorm(keras.layers.BatchNormalization):
    """A batch normalisation that may have other rules."""


@pytest.mark.parametrize(
    "make_layer",
    [
        lambda: keras.layers.BatchNormalization(axis=1),
        lambda: keras.layers.BatchNormalization(synchronized=True),
        lambda: keras.layers.BatchNormalization(renorm=True),
        SubclassedNorm,
    ],
)
def test_layers_with_other_rules_are_unchanged(make_layer):
    layer = make_layer()
    layer.build(IMAGES.shape)
    with use_fused_batch_norm([layer]):
        assert "call" not in vars(layer)


def test_masks_and_vectors_are_those_of_keras():
    vectors, mask = IMAGES[:, 0, 0], tf.constant([True, False, True, True, True, False])
    norm, vector_norm = make_norm(), keras.layers.BatchNormalization()
    vector_norm.build(vectors.shape)

    def outputs():
        norm.moving_mean.assign(tf.zeros(3))
        return [
            norm(IMAGES, training=True, mask=tf.tile(mask[:, None, None], [1, 5, 4])),
            vector_norm(vectors, training=True),
        ]

    expected = outputs()
    norm.moving_variance.assign(tf.ones(3))
    with use_fused_batch_norm([norm, vector_norm]):
        for one, other in zip(outputs(), expected, strict=True):
            np.testing.assert_array_equal(one, other)


def test_nested_layers_are_fused_and_plain_again_afterwards():
    model = keras.Sequential([keras.Input((5, 4, 3)), keras.Sequential([make_norm()])])
    norm = model.layers[0].layers[0]
    with use_fused_batch_norm([model]):
        assert "call" in vars(norm)
    assert "call" not in vars(norm)
