"""Pixels of PNG and JPEG files, as operations of a TensorFlow graph.

The loader of image files, `bin/purify` and the graph of an exported model decode with these
functions, so that an image has the same pixels in training and in use, to the last bit.
"""

import tensorflow as tf

from tfdefense.data.core.exif_orientation import exif_orientation, turn_upright
from tfdefense.utils.graph_checks import raise_if

PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"
JPEG_SIGNATURE = b"\xff\xd8\xff"
# ITU-R 601-2 luma in 16-bit fixed point, as Pillow computes it: grey = (weights . RGB + half) >> 16.
LUMA = (19595, 38470, 7471)
LUMA_HALF, LUMA_ONE = 2**15, 2**16


def decode_pixels(encoded: tf.Tensor, max_pixels: int) -> tf.Tensor:
    """Decode one file and turn it upright as its EXIF orientation says.

    JPEGs are decoded with exact integer arithmetic (INTEGER_ACCURATE), which all builds of
    libjpeg-turbo share. CMYK becomes RGB. Palettes become RGB, 16 bits the upper 8 bits, and the
    alpha channel is dropped.

    Args:
      encoded: string [], a PNG or JPEG file.
      max_pixels: largest product of height and width allowed. A file of a few kilobytes can decode
        to gigabytes.

    Returns:
      uint8 [H, W, 1 or 3].

    Raises, when the graph runs:
      tf.errors.InvalidArgumentError: a damaged file, another format, or too many pixels.
    """
    is_png, is_jpeg = _starts_with(encoded, PNG_SIGNATURE), _starts_with(encoded, JPEG_SIGNATURE)
    # tf.io.decode_image also accepts GIF and BMP, and misreads some of these files.
    message = "image_bytes: {} bytes given that are neither PNG nor JPEG."
    encoded = raise_if(~(is_png | is_jpeg), message, tf.strings.length(encoded), encoded)
    pixels = tf.cond(is_png, lambda: _png_pixels(encoded), lambda: _jpeg_pixels(encoded))
    message = f"image_bytes: an image of {{}} pixels given, at most {max_pixels} allowed. Make it smaller."
    encoded = raise_if(pixels > max_pixels, message, pixels, encoded)
    image = tf.cond(
        is_png,
        lambda: tf.io.decode_png(encoded, channels=0),
        lambda: tf.io.decode_jpeg(encoded, channels=0, dct_method="INTEGER_ACCURATE"),
    )
    image = image[..., : 2 * ((tf.shape(image)[2] + 1) // 2) - 1]  # Without alpha: 1 or 3.
    return turn_upright(image, exif_orientation(encoded, is_png))


def fit_pixels(pixels: tf.Tensor, image_shape: tuple[int, ...]) -> tf.Tensor:
    """Convert an image to other channels and another size.

    Colour becomes grey by its luma; grey becomes colour in three equal channels. Resizing is
    bilinear with antialiasing, and rounds to whole grey levels.

    Args:
      pixels: uint8 [h, w, 1 or 3].
      image_shape: [H, W, C], with C = 1 or 3.

    Returns:
      uint8 [H, W, C].
    """
    height, width, channels = image_shape
    is_grey = tf.shape(pixels)[2] == 1
    if channels == 1:
        pixels = tf.cond(is_grey, lambda: pixels, lambda: to_grey(pixels))
    else:
        pixels = tf.cond(is_grey, lambda: tf.tile(pixels, [1, 1, 3]), lambda: pixels)

    def resize() -> tf.Tensor:
        resized = tf.image.resize(tf.cast(pixels, tf.float32), (height, width), antialias=True)
        return tf.cast(tf.clip_by_value(tf.round(resized), 0.0, 255.0), tf.uint8)

    has_size = tf.reduce_all(tf.shape(pixels)[:2] == [height, width])
    return tf.ensure_shape(tf.cond(has_size, lambda: pixels, resize), image_shape)


def to_grey(pixels: tf.Tensor) -> tf.Tensor:
    """Convert an image uint8 [h, w, 3] to its luma, uint8 [h, w, 1]."""
    weighted = tf.reduce_sum(tf.cast(pixels, tf.int32) * LUMA, axis=2, keepdims=True)
    return tf.cast((weighted + LUMA_HALF) // LUMA_ONE, tf.uint8)


def _starts_with(encoded: tf.Tensor, signature: bytes) -> tf.Tensor:
    return tf.strings.substr(encoded, 0, len(signature)) == signature


def _png_pixels(encoded: tf.Tensor) -> tf.Tensor:
    """Return width times height, int64, from the header of a PNG file, which may be truncated."""
    padded = tf.strings.join([encoded, b"\0" * 24])
    sides = tf.reshape(tf.io.decode_raw(tf.strings.substr(padded, 16, 8), tf.uint8), [2, 4])
    return tf.reduce_prod(tf.reduce_sum(tf.cast(sides, tf.int64) * [2**24, 2**16, 2**8, 1], axis=1))


def _jpeg_pixels(encoded: tf.Tensor) -> tf.Tensor:
    return tf.reduce_prod(tf.cast(tf.io.extract_jpeg_shape(encoded)[:2], tf.int64))
