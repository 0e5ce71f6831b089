"""Checks of served images inside the exported graph: shape, value range, number and file format.

The checks are operations of the graph, so they run in every server and runtime that loads the
model. A server rejects an invalid request with INVALID_ARGUMENT and a sentence that names the
mistake.
"""

import tensorflow as tf

# Tolerance for the rounding of clients that divide by 255 in another precision.
_TOLERANCE = 1e-3
# 4096 x 4096. A compressed file of a few kilobytes can decode to gigabytes.
_MAX_PIXELS = 2**24
_PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_JPEG_SIGNATURE = b"\xff\xd8\xff"


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
    images = _raise_if(
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
    return _raise_if(
        ~tf.reduce_all(in_range),
        "images: values from {} to {} (or NaN) given, [0, 1] needed. Divide 0-255 values by 255.",
        (low, high),
        images,
    )


def decode_images(
    image_bytes: tf.Tensor, image_shape: tuple[int, ...], max_batch: int
) -> tf.Tensor:
    """Decode PNG and JPEG files and resize them as training images are resized.

    Colour images become grey if `image_shape` has one channel; grey images become colour if it has
    three. The alpha channel is dropped. An EXIF orientation is ignored.

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
    height, width, channels = image_shape

    def decode(encoded: tf.Tensor) -> tf.Tensor:
        is_png, is_jpeg = (
            _starts_with(encoded, _PNG_SIGNATURE),
            _starts_with(encoded, _JPEG_SIGNATURE),
        )
        # tf.io.decode_image also accepts GIF and BMP, and misreads some of these files.
        message = "image_bytes: {} bytes given that are neither PNG nor JPEG."
        encoded = _raise_if(~(is_png | is_jpeg), message, tf.strings.length(encoded), encoded)
        pixels = tf.cond(is_png, lambda: _png_pixels(encoded), lambda: _jpeg_pixels(encoded))
        message = f"image_bytes: an image of {{}} pixels given, at most {_MAX_PIXELS} allowed."
        encoded = _raise_if(pixels > _MAX_PIXELS, message, pixels, encoded)
        image = tf.io.decode_image(encoded, channels=channels, expand_animations=False)
        image = tf.image.resize(tf.cast(image, tf.float32), (height, width), antialias=True)
        # Round to whole grey levels, because images resized before training are stored as uint8.
        image = tf.clip_by_value(tf.round(image), 0.0, 255.0) / 255.0
        return tf.ensure_shape(image, image_shape)

    image_bytes = _check_count(image_bytes, "image_bytes", max_batch)
    return tf.map_fn(
        decode, image_bytes, fn_output_signature=tf.TensorSpec(image_shape, tf.float32)
    )


def _starts_with(encoded: tf.Tensor, signature: bytes) -> tf.Tensor:
    return tf.strings.substr(encoded, 0, len(signature)) == signature


def _png_pixels(encoded: tf.Tensor) -> tf.Tensor:
    """Return width times height, int64, from the header of a PNG file, which may be truncated."""
    padded = tf.strings.join([encoded, b"\0" * 24])
    sides = tf.reshape(tf.io.decode_raw(tf.strings.substr(padded, 16, 8), tf.uint8), [2, 4])
    return tf.reduce_prod(tf.reduce_sum(tf.cast(sides, tf.int64) * [2**24, 2**16, 2**8, 1], axis=1))


def _jpeg_pixels(encoded: tf.Tensor) -> tf.Tensor:
    return tf.reduce_prod(tf.cast(tf.io.extract_jpeg_shape(encoded)[:2], tf.int64))


def _check_count(values: tf.Tensor, name: str, limit: int) -> tf.Tensor:
    count = tf.shape(values)[0]
    message = f"{name}: {{}} given, 1 to {limit} allowed in one request (bin/export --max_batch sets the limit)."
    return _raise_if((count < 1) | (count > limit), message, count, values)


def _raise_if(
    is_invalid: tf.Tensor,
    message: str,
    arguments: tf.Tensor | tuple[tf.Tensor, ...],
    values: tf.Tensor,
) -> tf.Tensor:
    """Return `values`, or raise InvalidArgumentError with `message.format(arguments)`."""
    check = tf.debugging.Assert(~is_invalid, [tf.strings.format(message, arguments)])
    with tf.control_dependencies([check]):
        return tf.identity(values)
