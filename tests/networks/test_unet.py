import keras
import numpy as np
import pytest
import tensorflow as tf

from tfdefense.networks.unet import UNet, default_levels


def random_images(shape, count=3):
    return np.random.default_rng(0).random((count, *shape)).astype(np.float32)


@pytest.mark.parametrize(
    ("size", "levels"),
    [((28, 28), 5), ((32, 32), 5), ((33, 20), 6), ((256, 256), 8), ((600, 9), 8)],
)
def test_default_levels_go_down_to_one_pixel(size, levels):
    assert default_levels(size) == levels


@pytest.mark.slow
def test_at_256_pixels_the_network_is_the_generator_of_pix2pix():
    """Filters and inputs of each layer, from the paper's text: C64-...-C512, CD512-...-C128."""
    unet = UNet(3, image_size=(256, 256))
    unet.build((None, 256, 256, 3))
    assert [layer.filters for layer in unet.encoder] == [64, 128, 256, 512, 512, 512, 512, 512]
    assert [layer.filters for layer in unet.decoder] == [512, 512, 512, 512, 256, 128, 64, 3]
    inputs = [layer.kernel.shape[-1] for layer in unet.decoder]
    assert inputs == [512, 1024, 1024, 1024, 1024, 512, 256, 128]
    assert (len(unet.encoder_norms), len(unet.decoder_norms), len(unet.dropouts)) == (6, 7, 3)


@pytest.mark.slow
@pytest.mark.parametrize("shape", [(28, 28, 1), (32, 32, 3), (17, 30, 3), (5, 5, 1)])
def test_purified_images_have_the_shape_of_the_input_and_are_in_range(shape):
    unet = UNet(shape[-1], image_size=shape[:2])
    images = random_images(shape)
    purified = unet(images).numpy()
    assert purified.shape == images.shape
    assert purified.min() >= 0
    assert purified.max() <= 1
    np.testing.assert_array_equal(purified, unet(images).numpy())


def test_skip_connections_carry_the_image_past_the_innermost_layer():
    unet = UNet(1, image_size=(16, 16))
    unet.build((None, 16, 16, 1))
    unet.encoder[-1].kernel.assign(tf.zeros_like(unet.encoder[-1].kernel))
    first, second = unet(random_images((16, 16, 1), count=2)).numpy()
    assert not np.allclose(first, second)


def test_dropout_is_applied_in_training_only():
    unet = UNet(1, image_size=(16, 16))
    images = random_images((16, 16, 1), count=2)
    one, other = (unet(images, training=True).numpy() for _ in range(2))
    assert not np.allclose(one, other)


@pytest.mark.slow
def test_a_loaded_network_equals_the_saved_one(tmp_path):
    network = UNet(1, image_size=(28, 28))
    images = tf.random.uniform((2, 28, 28, 1))
    network.build((None, 28, 28, 1))
    expected = network(images)
    network.save(tmp_path / "network.keras")
    loaded = keras.models.load_model(tmp_path / "network.keras")
    np.testing.assert_allclose(loaded(images), expected, atol=1e-6)


@pytest.mark.slow
def test_the_innermost_layers_leave_out_only_padding(monkeypatch):
    """Values and gradients are those of the plain convolutions."""
    unet = UNet(1, image_size=(16, 16))
    unet.build((None, 16, 16, 1))
    images = random_images((16, 16, 1))

    def output_and_gradients():
        with tf.GradientTape() as tape:
            purified = unet(images)
            loss = tf.reduce_sum(purified**2)
        return purified, tape.gradient(loss, unet.trainable_variables)

    ours, our_gradients = output_and_gradients()
    for name in ("_convolve_down", "_convolve_up"):
        monkeypatch.setattr(f"tfdefense.networks.unet.{name}", lambda layer, x: layer(x))
    theirs, their_gradients = output_and_gradients()
    np.testing.assert_allclose(ours, theirs, atol=1e-6)
    for one, other in zip(our_gradients, their_gradients, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-3, atol=1e-5)
