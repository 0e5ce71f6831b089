"""Resizing of images in arrays."""

import numpy as np
import tensorflow as tf


def resize_images(images: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Resize images to `size`, bilinear with antialiasing.

    Args:
      images: [N, H, W, C], uint8 in [0, 255] or floating point in [0, 1].
      size: (height, width).

    Returns:
      Images [N, height, width, C] with the dtype and the range of `images`.
    """
    if tuple(images.shape[1:3]) == tuple(size):
        return images
    result = tf.image.resize(images, size, antialias=True).numpy()
    if np.issubdtype(images.dtype, np.integer):
        return np.clip(np.round(result), 0, 255).astype(images.dtype)
    return np.clip(result, 0.0, 1.0).astype(images.dtype)
