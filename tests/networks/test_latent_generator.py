import numpy as np
import pytest

from tfdefense.networks.latent_generator import LatentGenerator

RNG = np.random.default_rng(0)


@pytest.mark.parametrize("shape", [(28, 28, 1), (32, 32, 3), (9, 14, 1)])
def test_images_of_any_size_are_generated_and_the_config_restores_the_network(shape):
    generator = LatentGenerator(shape, code_size=5, filters=2)
    generator.build((None, 5))
    codes = RNG.standard_normal((4, 5)).astype(np.float32)
    images = generator(codes).numpy()
    assert images.shape == (4, *shape)
    np.testing.assert_allclose(images[2:3], generator(codes[2:3]), atol=1e-6)
    restored = LatentGenerator.from_config(generator.get_config())
    restored.build((None, 5))
    restored.set_weights(generator.get_weights())
    np.testing.assert_array_equal(restored(codes), images)


def test_the_parameter_count_is_that_of_the_paper():
    """Gulrajani et al. for MNIST, counted by hand: dense 128 to 4x4x256, 5x5 to 128, 64 and 1."""
    generator = LatentGenerator()
    generator.build((None, 128))
    convolutions = 25 * 256 * 128 + 128, 25 * 128 * 64 + 64, 25 * 64 + 1
    assert generator.count_params() == 129 * 4096 + sum(convolutions)
