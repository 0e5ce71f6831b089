import numpy as np
import tensorflow as tf

from tfdefense.networks.pixel_thresholds import PixelThresholds


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
