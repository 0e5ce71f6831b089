import keras
import numpy as np
import pytest
import tensorflow as tf

from tfdefense.networks.patch_gan import PatchGAN
from tfdefense.networks.unet import UNet, default_levels


@pytest.mark.parametrize(
    ("size", "levels"),
    [((28, 28), 5), ((32, 32), 5), ((33, 20), 6), ((256, 256), 8), ((600, 9), 8)],
)
def test_levels_go_down_to_one_pixel(size, levels):
    assert default_levels(size) == levels


def test_at_256_pixels_it_is_pix2pixs_generator():
    """Layers, filters and what each takes, from the paper's text: C64-...-C512 and CD512-...-C128."""
    unet = UNet(3, image_size=(256, 256))
    unet.build((None, 256, 256, 3))
    assert [layer.filters for layer in unet.encoder] == [64, 128, 256, 512, 512, 512, 512, 512]
    assert [layer.filters for layer in unet.decoder] == [512, 512, 512, 512, 256, 128, 64, 3]
    takes = [layer.kernel.shape[-1] for layer in unet.decoder]
    assert takes == [512, 1024, 1024, 1024, 1024, 512, 256, 128]
    assert (len(unet.encoder_norms), len(unet.decoder_norms), len(unet.dropouts)) == (6, 7, 3)


@pytest.mark.parametrize("shape", [(28, 28, 1), (32, 32, 3), (17, 30, 3), (5, 5, 1)])
def test_any_size_comes_back_in_range(shape):
    unet = UNet(shape[-1], image_size=shape[:2])
    images = np.random.default_rng(0).random((3, *shape)).astype(np.float32)
    purified = unet(images).numpy()
    assert purified.shape == images.shape
    assert purified.min() >= 0
    assert purified.max() <= 1
    np.testing.assert_array_equal(purified, unet(images).numpy())


def test_skips_carry_every_size():
    """With the innermost path cut, the output still depends on the image."""
    unet = UNet(1, image_size=(16, 16))
    unet.build((None, 16, 16, 1))
    unet.encoder[-1].kernel.assign(tf.zeros_like(unet.encoder[-1].kernel))
    images = np.random.default_rng(0).random((2, 16, 16, 1)).astype(np.float32)
    first, second = unet(images).numpy()
    assert not np.allclose(first, second)


def test_dropout_is_for_training_only():
    unet = UNet(1, image_size=(16, 16))
    images = np.random.default_rng(0).random((2, 16, 16, 1)).astype(np.float32)
    one, other = (unet(images, training=True).numpy() for _ in range(2))
    assert not np.allclose(one, other)


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


def test_the_condition_counts():
    network = PatchGAN()
    one, other = tf.random.uniform((2, 1, 28, 28, 1))
    assert not np.allclose(network(one, one), network(other, one))


@pytest.mark.parametrize("network", [UNet(1, image_size=(28, 28)), PatchGAN()])
def test_networks_are_saved_and_loaded(network, tmp_path):
    images = tf.random.uniform((2, 28, 28, 1))
    inputs = (images,) if isinstance(network, UNet) else (images, images)
    network.build((None, 28, 28, 1))
    expected = network(*inputs)
    network.save(tmp_path / "network.keras")
    again = keras.models.load_model(tmp_path / "network.keras")
    np.testing.assert_allclose(again(*inputs), expected, atol=1e-6)


def test_the_innermost_layers_leave_out_only_what_padding_would_meet(monkeypatch):
    """Values and gradients are those of the plain convolutions."""
    unet = UNet(1, image_size=(16, 16))
    unet.build((None, 16, 16, 1))
    images = np.random.default_rng(0).random((3, 16, 16, 1)).astype(np.float32)

    def outputs():
        with tf.GradientTape() as tape:
            purified = unet(images)
            loss = tf.reduce_sum(purified**2)
        return purified, tape.gradient(loss, unet.trainable_variables)

    ours, our_gradients = outputs()
    plain = {"_down": lambda layer, x: layer(x), "_up": lambda layer, x: layer(x)}
    for name, function in plain.items():
        monkeypatch.setattr(f"tfdefense.networks.unet.{name}", function)
    theirs, their_gradients = outputs()
    np.testing.assert_allclose(ours, theirs, atol=1e-6)
    for one, other in zip(our_gradients, their_gradients, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-3, atol=1e-5)
