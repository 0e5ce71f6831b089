import numpy as np
import pytest
import scipy.spatial.distance
import scipy.special
import tensorflow as tf

from tfdefense.networks.autoencoder import Autoencoder
from tfdefense.networks.detectors import Thresholds, jensen_shannon, reconstruction_error
from tfdefense.networks.latent_generator import LatentGenerator

RNG = np.random.default_rng(0)


@pytest.mark.parametrize("scale", [0.1, 1.0, 30.0])
def test_divergence_is_scipys(scale):
    ours, theirs = (scale * RNG.standard_normal((20, 7)).astype(np.float32) for _ in range(2))
    expected = scipy.spatial.distance.jensenshannon(
        scipy.special.softmax(ours.astype(np.float64), -1),
        scipy.special.softmax(theirs.astype(np.float64), -1),
        axis=-1,
    )
    np.testing.assert_allclose(jensen_shannon(ours, theirs), expected**2, rtol=2e-3, atol=1e-6)
    assert np.all(jensen_shannon(ours, ours) < 1e-6)


def test_divergence_has_a_gradient_where_softmaxes_are_certain():
    logits = tf.Variable([[200.0, 0.0, -200.0]])
    with tf.GradientTape() as tape:
        loss = jensen_shannon(logits, tf.constant([[0.0, 200.0, 0.0]]))
    assert np.all(np.isfinite(tape.gradient(loss, logits)))
    np.testing.assert_allclose(loss, np.log(2), rtol=1e-5)


@pytest.mark.parametrize("power", [1, 2])
def test_reconstruction_error_is_a_mean_over_pixels_and_channels(power):
    images, rebuilt = RNG.random((2, 5, 4, 6, 3), np.float32)
    expected = (np.abs(images - rebuilt) ** power).reshape(5, -1).mean(-1)
    np.testing.assert_allclose(reconstruction_error(images, rebuilt, power), expected, rtol=1e-5)


def test_thresholds_divide():
    thresholds = Thresholds(2)
    np.testing.assert_array_equal(thresholds(tf.constant([[3.0, 4.0]])), [[3.0, 4.0]])
    thresholds.set(np.float32([3.0, 2.0]))
    np.testing.assert_array_equal(thresholds(tf.constant([[3.0, 4.0]])), [[1.0, 2.0]])


@pytest.mark.parametrize("shape", [(28, 28, 1), (9, 7, 3)])
@pytest.mark.parametrize("pooled", [True, False])
def test_autoencoder_gives_back_images_of_the_same_size(shape, pooled):
    autoencoder = Autoencoder(shape[-1], pooled=pooled)
    autoencoder.build((None, *shape))
    images = RNG.random((3, *shape), np.float32)
    together = autoencoder(images).numpy()
    assert together.shape == images.shape
    assert np.all((together > 0) & (together < 1))
    np.testing.assert_allclose(together[1:2], autoencoder(images[1:2]), atol=1e-6)


def test_autoencoder_has_the_papers_parameters():
    """Table 2 of the paper: 3x3 convolutions 1-3, 3-3, 3-3, 3-3, 3-1, and 1-3, 3-3, 3-1, by hand."""
    pooled, flat = Autoencoder(1, 3, True), Autoencoder(1, 3, False)
    pooled.build((None, 28, 28, 1)), flat.build((None, 28, 28, 1))
    assert pooled.count_params() == (9 * 3 + 3) + 3 * (27 * 3 + 3) + (27 + 1)
    assert flat.count_params() == (9 * 3 + 3) + (27 * 3 + 3) + (27 + 1)


@pytest.mark.parametrize("shape", [(28, 28, 1), (32, 32, 3), (9, 14, 1)])
def test_latent_generator_makes_images_of_any_size(shape):
    generator = LatentGenerator(shape, code_size=5, filters=2)
    generator.build((None, 5))
    codes = RNG.standard_normal((4, 5)).astype(np.float32)
    images = generator(codes).numpy()
    assert images.shape == (4, *shape)
    np.testing.assert_allclose(images[2:3], generator(codes[2:3]), atol=1e-6)
    again = LatentGenerator.from_config(generator.get_config())
    again.build((None, 5))
    again.set_weights(generator.get_weights())
    np.testing.assert_array_equal(again(codes), images)


def test_latent_generator_has_the_papers_parameters():
    """Gulrajani et al.'s for MNIST: dense 128 to 4x4x256, 5x5 to 128, 64 and 1, by hand."""
    generator = LatentGenerator()
    generator.build((None, 128))
    convolutions = 25 * 256 * 128 + 128, 25 * 128 * 64 + 64, 25 * 64 + 1
    assert generator.count_params() == 129 * 4096 + sum(convolutions)
