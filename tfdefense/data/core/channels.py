"""Conversion of images in arrays to grey or colour."""

import numpy as np

from tfdefense.data.core.image_decoding import LUMA, LUMA_HALF, LUMA_ONE


def convert_channels(images: np.ndarray, channels: int | None) -> np.ndarray:
    """Convert images to grey by their luma, or to colour by three equal channels.

    Images of bytes have the same pixels as files that the reader converts.

    Args:
      images: [N, H, W, 1 or 3], uint8 in [0, 255] or floating point in [0, 1].
      channels: 1 or 3; None leaves the images as they are.

    Returns:
      Images [N, H, W, channels] with the dtype and the range of `images`.
    """
    if channels in (None, images.shape[-1]):
        return images
    if channels == 3:
        return np.repeat(images, 3, axis=-1)
    is_whole = images.dtype == np.uint8
    kind = np.dtype(np.int32) if is_whole else np.result_type(images.dtype, np.float32)
    red, green, blue = (images[..., i : i + 1].astype(kind) * LUMA[i] for i in range(3))
    weighted = red + green + blue
    grey = (weighted + LUMA_HALF) // LUMA_ONE if is_whole else weighted / LUMA_ONE
    return grey.astype(images.dtype)
