import numpy as np
import pytest

from tfdefense.data.core.image_decoding import fit_pixels
from tfdefense.data.core.resizing import resize_images


@pytest.mark.parametrize(
    ("resize", "white"),
    [
        (lambda image: resize_images(image[np.newaxis], (8, 8))[0], 255),
        (lambda image: resize_images(np.float32(image[np.newaxis] / 255), (8, 8))[0], 1),
        (lambda image: fit_pixels(image, (8, 8, 1)).numpy(), 255),
    ],
    ids=["uint8", "float32", "graph"],
)
def test_a_smaller_image_has_the_mean_of_its_pixels(resize, white):
    """Without antialiasing, every third pixel of a chessboard makes another chessboard."""
    chessboard = np.uint8(255 * (np.indices((24, 24)).sum(axis=0) % 2))[..., np.newaxis]
    inside = resize(chessboard)[1:-1, 1:-1]  # At the border the filter covers fewer pixels.
    np.testing.assert_allclose(inside, white / 2, atol=0.01 * white)
