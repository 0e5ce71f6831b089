"""Images of another size."""

import numpy as np
import tensorflow as tf


def resized(images: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Images [N, H, W, C] of any kind -> the same kind, [N, *size, C], bilinear with antialiasing."""
    if tuple(images.shape[1:3]) == tuple(size):
        return images
    result = tf.image.resize(images, size, antialias=True).numpy()
    if np.issubdtype(images.dtype, np.integer):
        return np.clip(np.round(result), 0, 255).astype(images.dtype)
    return np.clip(result, 0.0, 1.0).astype(images.dtype)
