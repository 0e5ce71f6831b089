import keras
import numpy as np
import tensorflow as tf

from tfdefense.networks.patch_gan import PatchGAN


def test_a_patch_is_34_pixels_wide():
    network = PatchGAN()
    network.build((None, 64, 64, 1))
    images = tf.random.uniform((1, 64, 64, 1))
    with tf.GradientTape() as tape:
        tape.watch(images)
        logits = network(images, images)
        middle = logits[0, 8, 8, 0]
    assert logits.shape == (1, 16, 16, 1)
    seen = np.abs(tape.gradient(middle, images)[0, ..., 0]) > 0
    assert seen.any(1).sum() == 34
    assert seen.any(0).sum() == 34


def test_the_logits_depend_on_the_condition():
    network = PatchGAN()
    one, other = tf.random.uniform((2, 1, 28, 28, 1))
    assert not np.allclose(network(one, one), network(other, one))


def test_a_loaded_network_equals_the_saved_one(tmp_path):
    network = PatchGAN()
    images = tf.random.uniform((2, 28, 28, 1))
    network.build((None, 28, 28, 1))
    expected = network(images, images)
    network.save(tmp_path / "network.keras")
    loaded = keras.models.load_model(tmp_path / "network.keras")
    np.testing.assert_allclose(loaded(images, images), expected, atol=1e-6)
