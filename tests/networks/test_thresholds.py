"""Pixels held against thresholds, alone and in front of every generator."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from tfdefense.networks.generator_factory import GENERATORS, make_generator
from tfdefense.networks.thresholds import PixelThresholds


def test_each_pixel_is_held_against_every_threshold():
    layer = PixelThresholds(3, slope=2.0)
    images = np.random.default_rng(0).random((2, 4, 5, 2)).astype(np.float32)
    found = np.asarray(layer(images))
    expected = [
        np.maximum(2.0 * (images[..., channel] - threshold), 0.0)
        for channel in range(2)
        for threshold in (0, 1 / 3, 2 / 3)
    ]
    np.testing.assert_allclose(found, np.stack(expected, -1), atol=1e-6)
    assert layer.compute_output_shape((None, 4, 5, 2)) == (None, 4, 5, 6)


def test_only_towards_images_is_there_a_gradient_below_the_thresholds():
    layer = PixelThresholds(2)
    images = tf.constant([0.1, 0.7], shape=(1, 1, 2, 1))
    layer.build(images.shape)
    layer.thresholds.assign([[0.3, 0.5]])
    with tf.GradientTape(persistent=True) as tape:
        tape.watch(images)
        loss = tf.reduce_sum(layer(images))
    # Slope 2 above; a tenth of it, below both thresholds.
    np.testing.assert_allclose(tape.gradient(loss, images)[0, 0, :, 0], [0.4, 4.0], rtol=1e-6)
    np.testing.assert_allclose(tape.gradient(loss, layer.thresholds.value), [[-2.0, -2.0]])
    np.testing.assert_allclose(tape.gradient(loss, layer.slopes.value), [[0.4, 0.2]], rtol=1e-6)


@pytest.mark.parametrize("name", GENERATORS)
def test_a_generator_with_thresholds_learns_them_and_is_kept_whole(name, tmp_path):
    shape = (7, 7, 1)
    network = make_generator(name, shape, widths=(4, 8), thresholds=6)
    plain = make_generator(name, shape, widths=(4, 8))
    # Six thresholds and slopes; five more images for the first convolution to look at.
    first = next(weight for weight in plain.weights if len(weight.shape) == 4)
    height, width, _, filters = first.shape
    assert network.count_params() - plain.count_params() == 12 + 5 * height * width * filters
    images = tf.random.stateless_uniform([3, *shape], [0, 0])
    with tf.GradientTape() as tape:
        loss = tf.reduce_sum(network(images))
    gradients = tape.gradient(loss, network.trainable_variables)
    assert all(gradient is not None for gradient in gradients)
    # The first is at 0, where most pixels of a picture are; the rest must move too.
    moved = [
        np.asarray(g)
        for g, v in zip(gradients, network.trainable_variables, strict=True)
        if "thresholds" in v.path
    ]
    assert moved[0].shape == (1, 6)
    assert np.any(moved[0])
    network.save(tmp_path / "network.keras")
    again = keras.models.load_model(tmp_path / "network.keras")
    np.testing.assert_array_equal(again(images), network(images))
