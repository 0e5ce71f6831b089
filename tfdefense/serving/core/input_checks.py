"""Checks of served images inside the exported graph: shape, value range, number and file format.

The checks are operations of the graph, so they run in every server and runtime that loads the
model. A server rejects an invalid request with INVALID_ARGUMENT and a sentence that names the
mistake.
"""

import numpy as np
import tensorflow as tf

from tfdefense.data.core.disk_array import as_images
from tfdefense.data.core.image_decoding import decode_pixels, fit_pixels
from tfdefense.utils.graph_checks import raise_if

# Tolerance for the rounding of clients that divide by 255 in another precision.
_TOLERANCE = 1e-3
# 4096 x 4096. A compressed file of a few kilobytes can decode to gigabytes.
_MAX_PIXELS = 2**24


def check_images(images: tf.Tensor, image_shape: tuple[int, ...], max_batch: int) -> tf.Tensor:
    """Return the images unchanged if they are valid.

    Args:
      images: float32 [N, *image_shape] in [0, 1].
      image_shape: [H, W, C].
      max_batch: largest N allowed.

    Raises, when the graph runs:
      tf.errors.InvalidArgumentError: another shape, values out of range or NaN, N = 0 or N >
      max_batch.
    """
    shape = tf.shape(images)
    expected = ", ".join(map(str, image_shape))
    # Pad the shape so that it can be compared at any rank: a missing dimension counts as 0.
    sides = tf.concat([shape, tf.zeros([5], tf.int32)], 0)[1:5]
    images = raise_if(
        tf.reduce_any(sides != [*image_shape, 0]),
        f"images: shape {{}} given, [N, {expected}] needed.",
        shape,
        images,
    )
    images = tf.ensure_shape(images, [None, *image_shape])
    images = _check_count(images, "images", max_batch)
    low, high = tf.reduce_min(images), tf.reduce_max(images)
    # Compare every value: the minimum and maximum of an array with NaN are undefined in TensorFlow.
    in_range = (images >= -_TOLERANCE) & (images <= 1 + _TOLERANCE)
    return raise_if(
        ~tf.reduce_all(in_range),
        "images: values from {} to {} (or NaN) given, [0, 1] needed. Divide 0-255 values by 255.",
        (low, high),
        images,
    )


def decode_images(
    image_bytes: tf.Tensor, image_shape: tuple[int, ...], max_batch: int
) -> tf.Tensor:
    """Decode PNG and JPEG files as the loader of image files decodes them.

    Images are turned upright, converted to the channels of `image_shape` and resized, as
    `decode_pixels` and `fit_pixels` say.

    Args:
      image_bytes: string [N], one file each.
      image_shape: [H, W, C].
      max_batch: largest N allowed.

    Returns:
      float32 [N, *image_shape] in [0, 1].

    Raises, when the graph runs:
      tf.errors.InvalidArgumentError: a damaged file, another format, more than 4096 x 4096 pixels,
        N = 0 or N > max_batch.
    """

    def decode(encoded: tf.Tensor) -> tf.Tensor:
        pixels = fit_pixels(decode_pixels(encoded, _MAX_PIXELS), image_shape)
        # A table, because graph optimisers replace a division by 255 by a multiplication.
        return tf.gather(as_images(np.arange(256, dtype=np.uint8)), tf.cast(pixels, tf.int32))

    image_bytes = _check_count(image_bytes, "image_bytes", max_batch)
    return tf.map_fn(
        decode, image_bytes, fn_output_signature=tf.TensorSpec(image_shape, tf.float32)
    )


def _check_count(values: tf.Tensor, name: str, limit: int) -> tf.Tensor:
    count = tf.shape(values)[0]
    message = (
        f"{name}: {{}} given, 1 to {limit} allowed in one request (bin/purify: give a smaller"
        " --batch_size; bin/export: --max_batch sets the limit)."
    )
    return raise_if((count < 1) | (count > limit), message, count, values)
