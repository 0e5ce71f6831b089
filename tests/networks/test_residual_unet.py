import keras
import numpy as np
import pytest
import tensorflow as tf

from tfdefense.networks.residual_unet import ResidualBlock, ResidualUNet
from tfdefense.training.mixed_precision import compute_in


def numpy_silu(values):
    return values / (1 + np.exp(-values))


def test_a_residual_block_begins_as_the_identity_and_adds_its_convolutions_times_its_gain():
    block = ResidualBlock(5)
    features = np.random.default_rng(0).normal(size=(2, 4, 4, 5)).astype(np.float32)
    np.testing.assert_array_equal(block(features), features)
    block.gain.gain.assign([0.5])
    first, second = block.convolutions
    convolve = [
        lambda values, layer=layer: tf.nn.conv2d(values, layer.kernel, 1, "SAME") + layer.bias
        for layer in (first, second)
    ]
    expected = features + 0.5 * convolve[1](numpy_silu(convolve[0](numpy_silu(features)).numpy()))
    np.testing.assert_allclose(block(features), expected, rtol=1e-4, atol=1e-5)


def test_the_decoder_joins_its_features_with_those_of_the_encoder_as_one_convolution_of_both():
    network = ResidualUNet(1, (3, 5), (0, 0))
    network.build((None, 4, 4, 1))
    network.join[0].bias.assign([0.1, -0.2, 0.3])
    images = np.random.default_rng(0).uniform(size=(2, 4, 4, 1)).astype(np.float32)
    skip = network.first(images)
    decoded = network.up[0](tf.nn.silu(network.down[0](tf.nn.silu(skip))))
    joined = network.join[0](tf.nn.silu(tf.concat([decoded, skip], axis=-1)))
    expected = tf.sigmoid(network.last(tf.nn.silu(joined)))
    np.testing.assert_allclose(network(images), expected, atol=1e-6)
    with compute_in([network], "bfloat16"):
        rounded = network.purify_and_encode(images)[0]
    assert rounded.dtype == tf.float32
    np.testing.assert_allclose(rounded, expected, atol=0.02)


@pytest.mark.parametrize("shape", [(8, 8, 3), (9, 6, 1)])
def test_images_keep_their_shape_and_range_and_do_not_depend_on_each_other(shape):
    network = ResidualUNet(shape[-1], (4, 6, 8), (1, 0, 2))
    network.build((None, *shape))
    images = np.random.default_rng(0).uniform(size=(3, *shape)).astype(np.float32)
    purified, features = network.purify_and_encode(images)
    assert purified.shape == images.shape
    assert features.shape == (3, 8)
    assert 0 < np.min(purified) < np.max(purified) < 1
    np.testing.assert_allclose(network(images[1:2]), purified[1:2], rtol=1e-5)


def test_the_usual_network_has_the_size_that_its_measured_figures_were_measured_with():
    network = ResidualUNet()
    network.build((None, 32, 32, 3))
    kernels = [weight for weight in network.weights if len(weight.shape) == 4]
    assert len(kernels) == 1 + 3 + 3 * 2 + 3 * 2 + 1
    assert network.count_params() == 2_670_054


def test_a_saved_network_returns_the_same(tmp_path):
    network = ResidualUNet(3, (4, 6), (1, 1))
    network.build((None, 8, 8, 3))
    network.residual[1][0].gain.gain.assign([0.7])
    images = np.random.default_rng(0).uniform(size=(2, 8, 8, 3)).astype(np.float32)
    network.save(tmp_path / "network.keras")
    loaded = keras.models.load_model(tmp_path / "network.keras")
    np.testing.assert_array_equal(loaded(images), network(images))
