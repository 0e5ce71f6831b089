import numpy as np
import pytest
import tensorflow as tf

from tfdefense.networks.pixel_thresholds import SURROGATES, PixelThresholds
from tfdefense.networks.surrogates import use_surrogates


def test_each_pixel_is_compared_with_every_threshold():
    layer = PixelThresholds(3, slope=2.0)
    images = np.random.default_rng(0).random((2, 4, 5, 2)).astype(np.float32)
    outputs = np.asarray(layer(images))
    expected = [
        np.maximum(2.0 * (images[..., channel] - threshold), 0.0)
        for channel in range(2)
        for threshold in (0, 1 / 3, 2 / 3)
    ]
    np.testing.assert_allclose(outputs, np.stack(expected, -1), atol=1e-6)
    assert layer.compute_output_shape((None, 4, 5, 2)) == (None, 4, 5, 6)


def test_below_the_thresholds_only_the_images_get_a_gradient():
    layer = PixelThresholds(2)
    images = tf.constant([0.1, 0.7], shape=(1, 1, 2, 1))
    layer.build(images.shape)
    layer.thresholds.assign([[0.3, 0.5]])
    with tf.GradientTape(persistent=True) as tape:
        tape.watch(images)
        loss = tf.reduce_sum(layer(images))
    # Slope 2 above a threshold and 0.2 below it; the first pixel is below both, the second above.
    np.testing.assert_allclose(tape.gradient(loss, images)[0, 0, :, 0], [0.4, 4.0], rtol=1e-6)
    np.testing.assert_allclose(tape.gradient(loss, layer.thresholds.value), [[-2.0, -2.0]])
    np.testing.assert_allclose(tape.gradient(loss, layer.slopes.value), [[0.4, 0.2]], rtol=1e-6)


def softplus(x, temperature):
    return temperature * np.logaddexp(0, x / temperature)


@pytest.mark.parametrize(
    ("name", "function"),
    [
        ("true", lambda x: np.maximum(x, 0)),
        ("leaky", lambda x: np.maximum(x, 0.1 * x)),
        ("softplus_0.3", lambda x: softplus(x, 0.3)),
        ("softplus_1", lambda x: softplus(x, 1.0)),
    ],
)
def test_each_surrogate_is_the_derivative_of_its_function(name, function):
    rng = np.random.default_rng(0)
    images = rng.random((2, 3, 4, 2)).astype(np.float32)
    thresholds, slopes = rng.random((2, 2)), 3 * rng.random((2, 2)) - 0.5
    weights = rng.standard_normal((2, 3, 4, 4)).astype(np.float32)
    layer = PixelThresholds(2)
    layer.build(images.shape)
    layer.thresholds.assign(thresholds)
    layer.slopes.assign(slopes)

    def total(images):
        compared = slopes * (images[..., np.newaxis].astype(np.float64) - thresholds)
        return np.sum(weights * function(compared).reshape(2, 3, 4, 4), axis=-1)

    # The difference quotient of each pixel. A pixel changes only its own sum, one per channel.
    step = 1e-5
    quotients = [
        (total(images + step * unit) - total(images - step * unit)) / (2 * step)
        for unit in np.eye(2)
    ]
    with use_surrogates(name), tf.GradientTape() as tape:
        x = tf.constant(images)
        tape.watch(x)
        outputs = layer(x)
    # Outside of the context: the choice is made when the layer is called.
    gradient = tape.gradient(outputs, x, output_gradients=tf.constant(weights))
    np.testing.assert_allclose(gradient, np.stack(quotients, -1), rtol=1e-3, atol=1e-3)


def test_surrogates_change_neither_the_values_nor_the_gradients_of_the_weights():
    rng = np.random.default_rng(1)
    images = tf.constant(rng.random((3, 5, 5, 1)), tf.float32)
    layer = PixelThresholds(4)
    results = []
    for name in (None, *SURROGATES.names):
        with use_surrogates(*[name] if name else []), tf.GradientTape() as tape:
            outputs = layer(images)
            loss = tf.reduce_sum(tf.square(outputs))
        results.append([outputs, *tape.gradient(loss, layer.trainable_weights)])
    for other in results[1:]:
        for ours, default in zip(other, results[0], strict=True):
            np.testing.assert_array_equal(ours, default)
