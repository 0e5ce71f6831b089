"""Weight gradients as matrix products equal those of TensorFlow; other layers are left alone."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from tfdefense.training.mixed_precision import compute_in
from tfdefense.training.weight_gradients import (
    Window,
    convolve,
    convolve_transposed,
    use_patch_products,
)

WINDOWS = [
    ((7, 7), Window((3, 3), (2, 2), "SAME")),
    ((8, 6), Window((4, 4), (2, 2), "SAME")),
    ((8, 8), Window((3, 3), (1, 1), "VALID")),
    ((9, 6), Window((3, 2), (2, 1), "SAME")),
    ((5, 5), Window((1, 2), (2, 2), "SAME")),
    ((9, 9), Window((4, 3), (3, 2), "VALID")),
]
KERNEL_GRADIENT = "Conv2DBackpropFilter"


def draw(*shape, seed=0):
    return tf.random.stateless_normal(shape, seed=(seed, 1))


def losses_and_gradients(function, inputs, kernel, bias):
    """Return a value, its input gradient, and all gradients of a penalty of that gradient."""
    with tf.GradientTape() as outer:
        outer.watch([inputs, kernel, bias])
        with tf.GradientTape() as inner:
            inner.watch(inputs)
            value = tf.reduce_sum(tf.tanh(function(inputs, kernel, bias)))
        gradient = inner.gradient(value, inputs)
        loss = tf.reduce_sum(gradient**2) + value
    return value, gradient, *outer.gradient(loss, [inputs, kernel, bias])


def assert_equal(measured, expected):
    for one, other in zip(measured, expected, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(("size", "window"), WINDOWS)
def test_gradients_of_both_orders_equal_those_of_tensorflow(size, window):
    images, kernel, bias = draw(3, *size, 4), draw(*window.kernel, 4, 5, seed=1), draw(5, seed=2)

    def expected(images, kernel, bias):
        return tf.nn.conv2d(images, kernel, window.strides, window.padding) + bias

    def measured(images, kernel, bias):
        return convolve(images, kernel, bias, window)

    arguments = images, kernel, bias
    assert_equal(
        losses_and_gradients(measured, *arguments), losses_and_gradients(expected, *arguments)
    )


@pytest.mark.parametrize(("size", "window"), WINDOWS)
def test_transposed_gradients_of_both_orders_equal_those_of_tensorflow(size, window):
    kernel, bias = draw(*window.kernel, 4, 5, seed=1), draw(4, seed=2)
    shape = tf.nn.conv2d(tf.zeros([3, *size, 4]), kernel, window.strides, window.padding).shape

    def expected(outputs, kernel, bias):
        images = tf.nn.conv2d_transpose(
            outputs, kernel, [3, *size, 4], window.strides, window.padding
        )
        return images + bias

    def measured(outputs, kernel, bias):
        return convolve_transposed(outputs, kernel, bias, size, window)

    arguments = draw(*shape), kernel, bias
    assert_equal(
        losses_and_gradients(measured, *arguments), losses_and_gradients(expected, *arguments)
    )


def train_once(layer, images):
    """Return output, image gradient and weight gradients of a step, and its operations."""

    @tf.function(autograph=False)
    def step(images):
        with tf.GradientTape() as tape:
            tape.watch(images)
            outputs = tf.cast(layer(images), tf.float32)
            loss = tf.reduce_sum(tf.sin(outputs))
        return outputs, *tape.gradient(loss, [images, *layer.trainable_variables])

    graph = step.get_concrete_function(tf.TensorSpec([None, *images.shape[1:]])).graph
    return step(images), [operation.type for operation in graph.get_operations()]


@pytest.mark.parametrize("transposed", [False, True])
@pytest.mark.parametrize("options", [{}, {"use_bias": False}, {"activation": "tanh"}])
def test_a_bfloat16_layer_computes_its_weight_gradient_as_a_product(transposed, options):
    kind = keras.layers.Conv2DTranspose if transposed else keras.layers.Conv2D
    images = draw(4, 6, 6, 64)
    layer = kind(64, 4, 2, padding="same", **options)
    layer.build(images.shape)
    expected, _ = train_once(layer, images)
    with compute_in([layer], "bfloat16"), use_patch_products([layer]):
        measured, operations = train_once(layer, images)
    assert KERNEL_GRADIENT not in operations
    for one, other in zip(measured, expected, strict=True):
        assert np.abs(one - other).max() <= 0.03 * np.abs(other).max()


def test_a_sparse_gradient_of_the_outputs_is_taken():
    layer = keras.layers.Conv2D(64, 3)
    layer.build((None, 6, 6, 64))

    @tf.function(autograph=False)
    def gradient(images):
        with tf.GradientTape() as tape:
            loss = tf.reduce_sum(tf.cast(tf.gather(layer(images), [0, 1, 1]), tf.float32))
        return tape.gradient(loss, layer.kernel.value)

    images = draw(2, 6, 6, 64)
    expected = gradient(images)
    with compute_in([layer], "bfloat16"), use_patch_products([layer]):
        measured = tf.function(gradient.python_function)(images)
    assert np.abs(measured - expected).max() <= 0.03 * np.abs(expected).max()


class OtherConvolution(keras.layers.Conv2D):
    """Subclass; it may compute something else."""


@pytest.mark.parametrize(
    ("layer", "shape"),
    [
        (keras.layers.Conv2D(64, 3, padding="same"), (6, 6, 32)),
        (keras.layers.Conv2D(32, 3, padding="same"), (6, 6, 64)),
        (keras.layers.Conv2D(64, 3, padding="same"), (9, 9, 64)),
        (keras.layers.Conv2D(64, 3, dilation_rate=2), (6, 6, 64)),
        (keras.layers.Conv2D(64, 1), (6, 6, 64)),
        (keras.layers.Conv2DTranspose(64, 4, 2), (6, 6, 64)),
        (keras.layers.Conv2DTranspose(64, 3, 2, "same", output_padding=0), (6, 6, 64)),
        (OtherConvolution(64, 3), (6, 6, 64)),
    ],
)
def test_layers_that_would_gain_nothing_are_unchanged(layer, shape):
    layer.build((None, *shape))
    with compute_in([layer], "bfloat16"), use_patch_products([layer]):
        _, operations = train_once(layer, draw(2, *shape))
    assert KERNEL_GRADIENT in operations


def test_float32_and_everything_outside_the_context_is_unchanged():
    layer = keras.layers.Conv2D(64, 3)
    layer.build((None, 6, 6, 64))
    with use_patch_products([layer]):
        _, inside = train_once(layer, draw(2, 6, 6, 64))
    with compute_in([layer], "bfloat16"):
        _, outside = train_once(layer, draw(2, 6, 6, 64))
    assert KERNEL_GRADIENT in inside
    assert KERNEL_GRADIENT in outside
