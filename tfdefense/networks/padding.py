"""Padding of images to a height and width that the strides of a network divide."""

import tensorflow as tf

# Shape of a batch of images: (N, H, W, C); N may be unknown.
BatchShape = tuple[int | None, int, int, int]


def padded_shape(shape: BatchShape, multiple: int) -> BatchShape:
    """Return the shape of a batch after `pad_to_multiple`."""
    batch, height, width, channels = shape
    return batch, height + -height % multiple, width + -width % multiple, channels


def pad_to_multiple(images: tf.Tensor, multiple: int, value: float = 0.0) -> tf.Tensor:
    """Pad images at the bottom and on the right, so that `multiple` divides height and width.

    Args:
      images: [N, H, W, C] with known H and W.
      multiple: the number that must divide height and width.
      value: the value of the added pixels.
    """
    height, width = images.shape[1:3]
    padding = [[0, 0], [0, -height % multiple], [0, -width % multiple], [0, 0]]
    if not any(after for _, after in padding):
        return images
    return tf.pad(images, padding, constant_values=value)
