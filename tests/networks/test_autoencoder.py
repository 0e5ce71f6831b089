import numpy as np
import pytest

from tfdefense.networks.autoencoder import Autoencoder

RNG = np.random.default_rng(0)


@pytest.mark.parametrize("shape", [(28, 28, 1), (9, 7, 3)])
@pytest.mark.parametrize("pooled", [True, False])
def test_output_has_the_shape_of_the_images_and_no_example_depends_on_another(shape, pooled):
    autoencoder = Autoencoder(shape[-1], pooled=pooled)
    autoencoder.build((None, *shape))
    images = RNG.random((3, *shape), np.float32)
    batch = autoencoder(images).numpy()
    assert batch.shape == images.shape
    assert np.all((batch > 0) & (batch < 1))
    np.testing.assert_allclose(batch[1:2], autoencoder(images[1:2]), atol=1e-6)


def test_parameter_counts_are_those_of_the_paper():
    """Table 2, counted by hand: 3x3 convolutions 1-3, 3-3, 3-3, 3-3, 3-1, and 1-3, 3-3, 3-1."""
    pooled, flat = Autoencoder(1, 3, pooled=True), Autoencoder(1, 3, pooled=False)
    pooled.build((None, 28, 28, 1)), flat.build((None, 28, 28, 1))
    assert pooled.count_params() == (9 * 3 + 3) + 3 * (27 * 3 + 3) + (27 + 1)
    assert flat.count_params() == (9 * 3 + 3) + (27 * 3 + 3) + (27 + 1)
