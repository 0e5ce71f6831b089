import keras
import numpy as np
import pytest
import tensorflow as tf

from tfdefense.networks.encoder_decoder import EncoderDecoderGenerator


def random_images(shape, count=5):
    return tf.random.stateless_uniform([count, *shape], seed=[0, 1])


@pytest.mark.parametrize("shape", [(28, 28, 1), (32, 32, 3), (29, 30, 1), (7, 5, 3)])
def test_purified_images_have_the_shape_of_the_input_and_are_in_range(shape):
    generator = EncoderDecoderGenerator(channels=shape[-1])
    generator.build((None, *shape))
    purified = generator(random_images(shape))
    assert purified.shape == (5, *shape)
    assert np.min(purified) >= 0
    assert np.max(purified) <= 1


def test_the_parameter_count_is_that_of_the_paper():
    """Figure 2a, counted by hand: kernels, biases, and scale and shift of each normalisation."""
    generator = EncoderDecoderGenerator(channels=1)
    generator.build((None, 28, 28, 1))
    trainable = sum(int(np.prod(v.shape)) for v in generator.trainable_variables)
    convolutions = (16 * 64 + 64) + (16 * 64 * 128 + 128) + (16 * 128 * 64 + 64) + (16 * 64 + 1)
    assert trainable == convolutions + 2 * (64 + 128 + 64)


@pytest.mark.parametrize(
    ("channels", "filters"), [(1, (64, 128)), (3, (8, 16, 32))], ids=["default", "three levels"]
)
def test_a_loaded_generator_equals_the_saved_one(channels, filters, tmp_path):
    network = EncoderDecoderGenerator(channels, filters)
    shape = (12, 12, channels)
    network.build((None, *shape))
    network.save(tmp_path / "network.keras")
    loaded = keras.models.load_model(tmp_path / "network.keras")
    assert loaded.get_config() == network.get_config()
    np.testing.assert_array_equal(loaded(random_images(shape)), network(random_images(shape)))


def test_a_purified_image_does_not_depend_on_its_batch():
    generator = EncoderDecoderGenerator(channels=1)
    generator.build((None, 12, 12, 1))
    batch = random_images((12, 12, 1))
    for _ in range(3):
        generator(batch, training=True)
    np.testing.assert_allclose(generator(batch)[:1], generator(batch[:1]), atol=1e-6)
