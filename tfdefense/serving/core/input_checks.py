"""What a served model lets in: images of the right shape and range, or a sentence that says what is wrong.

The checks are part of the graph, so they hold whatever loads it: a server answers a wrong request with
INVALID_ARGUMENT and the sentence, and never with a wrong answer.
"""

import tensorflow as tf

# Rounding, of a client that divides in another precision, is no mistake.
_SLACK = 1e-3
# 4096 x 4096. A file of a few kilobytes may ask for the memory of all others.
_MOST_PIXELS = 2**24
# How PNG and JPEG files begin.
_HEADS = (b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff")


def checked_images(
    images: tf.Tensor, image_shape: tuple[int, int, int], max_batch: int
) -> tf.Tensor:
    """The images, if they are float32 [N, *image_shape] in [0, 1] and at most `max_batch`.

    Raises, when the graph runs:
      tf.errors.InvalidArgumentError: another shape, values out of range or NaN, or too many.
    """
    shape = tf.shape(images)
    wanted = ", ".join(map(str, image_shape))
    # Four numbers from any rank: what is missing is 0, and what is too much is not.
    sides = tf.concat([shape, tf.zeros([5], tf.int32)], 0)[1:5]
    images = _unless(
        tf.reduce_any(sides != [*image_shape, 0]),
        f"images: shape {{}} given, [N, {wanted}] needed.",
        shape,
        images,
    )
    images = tf.ensure_shape(images, [None, *image_shape])
    images = _limited(images, "images", max_batch)
    low, high = tf.reduce_min(images), tf.reduce_max(images)
    # Not by the lowest and the highest: what these are of NaN is left open.
    inside = (images >= -_SLACK) & (images <= 1 + _SLACK)
    return _unless(
        ~tf.reduce_all(inside),
        "images: values from {} to {} given, or NaN; [0, 1] needed (0-255? divide by 255).",
        (low, high),
        images,
    )


def decoded_images(
    image_bytes: tf.Tensor, image_shape: tuple[int, int, int], max_batch: int
) -> tf.Tensor:
    """Encoded images, string [N] -> float32 [N, *image_shape] in [0, 1], resized as training images are.

    PNG or JPEG. Colours become grey where `image_shape` is, and grey becomes colours; what is transparent is not. An
    orientation noted in the file is not applied.

    Raises, when the graph runs:
      tf.errors.InvalidArgumentError: damaged, of another format, of more than 4096 x 4096 pixels, or too many.
    """
    height, width, channels = image_shape

    def one(encoded: tf.Tensor) -> tf.Tensor:
        is_png, is_jpeg = (tf.strings.substr(encoded, 0, len(head)) == head for head in _HEADS)
        # TensorFlow decodes other formats too, and misreads some of them.
        sentence = "image_bytes: {} bytes given that are neither PNG nor JPEG."
        encoded = _unless(~(is_png | is_jpeg), sentence, tf.strings.length(encoded), encoded)
        pixels = tf.cond(is_png, lambda: _png_pixels(encoded), lambda: _jpeg_pixels(encoded))
        sentence = f"image_bytes: an image of {{}} pixels given, at most {_MOST_PIXELS} taken."
        encoded = _unless(pixels > _MOST_PIXELS, sentence, pixels, encoded)
        image = tf.io.decode_image(encoded, channels=channels, expand_animations=False)
        image = tf.image.resize(tf.cast(image, tf.float32), (height, width), antialias=True)
        # Whole grey levels, as images have them that are resized before training.
        image = tf.clip_by_value(tf.round(image), 0.0, 255.0) / 255.0
        return tf.ensure_shape(image, image_shape)

    image_bytes = _limited(image_bytes, "image_bytes", max_batch)
    return tf.map_fn(one, image_bytes, fn_output_signature=tf.TensorSpec(image_shape, tf.float32))


def _png_pixels(encoded: tf.Tensor) -> tf.Tensor:
    """Width times height, int64, from the head of a PNG, which may be cut off."""
    whole = tf.strings.join([encoded, b"\0" * 24])
    sides = tf.reshape(tf.io.decode_raw(tf.strings.substr(whole, 16, 8), tf.uint8), [2, 4])
    return tf.reduce_prod(tf.reduce_sum(tf.cast(sides, tf.int64) * [2**24, 2**16, 2**8, 1], axis=1))


def _jpeg_pixels(encoded: tf.Tensor) -> tf.Tensor:
    return tf.reduce_prod(tf.cast(tf.io.extract_jpeg_shape(encoded)[:2], tf.int64))


def _limited(values: tf.Tensor, name: str, most: int) -> tf.Tensor:
    count = tf.shape(values)[0]
    sentence = (
        f"{name}: {{}} given, 1 to {most} in one request (bin/export --max_batch says how many)."
    )
    return _unless((count < 1) | (count > most), sentence, count, values)


def _unless(
    wrong: tf.Tensor, sentence: str, about: tf.Tensor | tuple, values: tf.Tensor
) -> tf.Tensor:
    """`values`, unless something is wrong: then an error with the sentence, its braces filled with `about`."""
    check = tf.debugging.Assert(~wrong, [tf.strings.format(sentence, about)])
    with tf.control_dependencies([check]):
        return tf.identity(values)
