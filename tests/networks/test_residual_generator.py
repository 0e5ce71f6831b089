"""A generator's output taken as a change of the image, alone and behind every generator."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from tfdefense.networks.generators import GENERATORS, make_generator
from tfdefense.networks.residual_generator import ResidualGenerator
from tfdefense.training.precision import computing


def residual(network, shape, gain=0.1):
    generator = ResidualGenerator(network, gain)
    generator.build((None, *shape))
    return generator


@pytest.mark.parametrize("gain", [0.1, 3.0, -1.0])
def test_a_pixel_is_moved_a_share_of_its_way_to_white_or_black(gain):
    rng = np.random.default_rng(0)
    images, output = rng.random((2, 3, 4, 5, 2)).astype(np.float32)
    images[0, 0, 0], output[0, 0, 0] = (0.0, 1.0), (0.0, 1.0)
    says = keras.layers.Lambda(lambda seen: 0 * seen + output)
    changed = np.asarray(residual(says, output.shape[1:], gain)(images))
    expected = np.empty_like(images)
    for place in np.ndindex(images.shape):
        share = np.tanh(gain) * (2 * output[place] - 1)
        end = 1.0 if share > 0 else 0.0
        expected[place] = (1 - abs(share)) * images[place] + abs(share) * end
    np.testing.assert_allclose(changed, expected, atol=1e-6)
    assert changed.min() >= 0
    assert changed.max() <= 1


def test_a_half_leaves_the_image_and_still_learns():
    images = tf.constant(np.random.default_rng(1).random((2, 3, 3, 1)), tf.float32)
    half = keras.layers.Dense(
        1, kernel_initializer="zeros", bias_initializer=keras.initializers.Constant(0.5)
    )
    half.build((None, 3, 3, 1))
    generator = residual(half, (3, 3, 1))
    with tf.GradientTape() as tape:
        tape.watch(images)
        changed = generator(images)
        loss = tf.reduce_sum(changed)
    np.testing.assert_array_equal(changed, images)
    through_image, through_output = tape.gradient(loss, [images, half.bias.value])
    np.testing.assert_allclose(through_image, np.ones(images.shape))
    assert np.all(through_output.numpy() > 0)


@pytest.mark.parametrize("name", GENERATORS)
@pytest.mark.parametrize("thresholds", [0, 2])
def test_a_residual_generator_begins_near_the_identity_and_is_kept_whole(
    name, thresholds, tmp_path
):
    shape = (12, 12, 3)
    network = make_generator(name, shape, 2 if name == "unet" else None, (4, 8), thresholds, True)
    images = tf.random.stateless_uniform([4, *shape], [0, 0])
    with tf.GradientTape() as tape:
        purified = network(images, training=True)
        loss = tf.reduce_sum(tf.square(purified))
    assert np.abs(purified - images).max() < 0.1
    assert all(each is not None for each in tape.gradient(loss, network.trainable_variables))
    network.save(tmp_path / "network.keras")
    again = keras.models.load_model(tmp_path / "network.keras")
    np.testing.assert_array_equal(again(images), network(images))


def test_images_stay_float32_while_the_network_computes_in_bfloat16():
    network = make_generator("small_unet", (8, 8, 3), widths=(4, 8), residual=True)
    network.gains.assign(np.zeros(3, np.float32))
    images = tf.random.stateless_uniform([2, 8, 8, 3], [0, 0])
    with computing([network], "bfloat16"):
        purified = network(images)
    assert purified.dtype == tf.float32
    np.testing.assert_array_equal(purified, images)
