"""EXIF orientation of PNG and JPEG files, as operations of a TensorFlow graph.

A JPEG has EXIF data in an APP1 segment, a PNG in a chunk eXIf, before or after its pixels. Both hold
a TIFF directory. Orientations that only XMP or text chunks state are not read, as in browsers.

Source: CIPA DC-008 (Exif 2.32), sections 4.5.4 and 4.6.4; PNG specification, section 11.3.4.5.
"""

import tensorflow as tf

_TAG = 0x0112
_SHORT, _LONG = 3, 4
_ENTRY_BYTES = 12
_LITTLE_ENDIAN, _BIG_ENDIAN = ord("I"), ord("M")
_EXIF_HEADER = list(b"Exif\0\0")
_APP1, _START_OF_SCAN, _END_OF_IMAGE = 0xE1, 0xDA, 0xD9
_PNG_HEADER_BYTES = 8
# Of segments or chunks, this number is read, and one more per so many bytes: more than writers make.
_PARTS = 1_000
_PART_BYTES = 1_024


def exif_orientation(encoded: tf.Tensor, is_png: tf.Tensor) -> tf.Tensor:
    """Return the orientation in the EXIF data of a file.

    Args:
      encoded: string [], a PNG or JPEG file.
      is_png: bool [].

    Returns:
      int64 [] in [1, 8]; 1, which means upright, if there is no valid orientation.
    """
    # One more byte, because positions after the end are read as the last byte.
    content = tf.concat([tf.io.decode_raw(encoded, tf.uint8), tf.zeros([1], tf.uint8)], 0)
    start, stop = tf.cond(is_png, lambda: _find_in_png(content), lambda: _find_in_jpeg(content))
    # Some writers repeat the header of JPEG in a PNG.
    start += tf.where(_equal(_bytes_at(content, start, 6), _EXIF_HEADER), _int64(6), _int64(0))
    first, second = tf.unstack(_bytes_at(content, start, 2))
    is_tiff = (first == second) & ((first == _LITTLE_ENDIAN) | (first == _BIG_ENDIAN))
    return tf.cond(
        (stop > start) & is_tiff,
        lambda: _read_tiff(content, start, stop, first == _LITTLE_ENDIAN),
        lambda: _int64(1),
    )


def turn_upright(image: tf.Tensor, orientation: tf.Tensor) -> tf.Tensor:
    """Turn and mirror an image so that its EXIF orientation becomes 1.

    Args:
      image: [H, W, C].
      orientation: int64 [] in [1, 8].

    Returns:
      [H, W, C], or [W, H, C] for orientations from 5.
    """

    def turn() -> tf.Tensor:
        turned = tf.cond(orientation >= 5, lambda: tf.transpose(image, [1, 0, 2]), lambda: image)
        flips = [_is_one_of(orientation, (3, 4, 7, 8)), _is_one_of(orientation, (2, 3, 6, 7))]
        return tf.reverse(turned, tf.boolean_mask([0, 1], tf.stack(flips)))

    return tf.cond(orientation == 1, lambda: image, turn)


def _find_in_jpeg(content: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """Return the first and last position, int64, of the EXIF data; equal if there is none."""
    size = tf.size(content, tf.int64) - 1

    def step(position: tf.Tensor, start: tf.Tensor, stop: tf.Tensor) -> tuple[tf.Tensor, ...]:
        head = _bytes_at(content, position, 10)
        marker, length = head[1], 256 * head[2] + head[3]
        is_last = (head[0] != 0xFF) | _is_one_of(marker, (_START_OF_SCAN, _END_OF_IMAGE))
        is_exif = ~is_last & (marker == _APP1) & _equal(head[4:], _EXIF_HEADER)
        # Markers 0x01 and 0xD0 to 0xD8 have no content; 0xFF fills the space before a marker.
        is_alone = (marker == 0x01) | ((marker >= 0xD0) & (marker <= 0xD8))
        step_bytes = tf.where(marker == 0xFF, _int64(1), tf.where(is_alone, _int64(2), 2 + length))
        following = tf.where(is_last, size, position + step_bytes)
        end = tf.minimum(position + 2 + length, size)
        return following, tf.where(is_exif, position + 10, start), tf.where(is_exif, end, stop)

    return _search(step, 2, size)


def _find_in_png(content: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """Return the first and last position, int64, of the EXIF data; equal if there is none."""
    size = tf.size(content, tf.int64) - 1

    def step(position: tf.Tensor, start: tf.Tensor, stop: tf.Tensor) -> tuple[tf.Tensor, ...]:
        length = _number_at(content, position, 4)
        kind = _bytes_at(content, position + 4, 4)
        is_exif, is_last = _equal(kind, list(b"eXIf")), _equal(kind, list(b"IEND"))
        data = position + 8
        end = tf.minimum(data + length, size)
        following = tf.where(is_last, size, data + length + 4)
        return following, tf.where(is_exif, data, start), tf.where(is_exif, end, stop)

    return _search(step, _PNG_HEADER_BYTES, size)


def _search(
    step: "tf.types.experimental.GenericFunction", first: int, size: tf.Tensor
) -> tuple[tf.Tensor, tf.Tensor]:
    """Repeat `step` on (position, start, stop) until the data is found or the file ends.

    The number of parts is limited, so that a file of empty parts ends soon.
    """
    none = _int64(0)
    _, start, stop = tf.while_loop(
        lambda position, start, stop: (start == 0) & (position < size),
        step,
        [_int64(first), none, none],
        maximum_iterations=tf.cast(_PARTS + size // _PART_BYTES, tf.int32),
    )
    return start, stop


def _read_tiff(
    content: tf.Tensor, start: tf.Tensor, stop: tf.Tensor, little: tf.Tensor
) -> tf.Tensor:
    """Return the orientation in the first directory of TIFF data at [start, stop)."""
    directory = start + _number_at(content, start + 4, 4, little)
    fitting = (stop - directory - 2) // _ENTRY_BYTES
    count = tf.clip_by_value(_number_at(content, directory, 2, little), 0, tf.maximum(fitting, 0))
    entries = directory + 2 + _ENTRY_BYTES * tf.range(count)
    pairs = tf.cast(tf.gather(content, entries[:, None] + tf.range(2, dtype=tf.int64)), tf.int64)
    tags = tf.where(little, pairs[:, 0] + 256 * pairs[:, 1], 256 * pairs[:, 0] + pairs[:, 1])
    found = tf.boolean_mask(entries, tags == _TAG)

    def read() -> tf.Tensor:
        kind = _number_at(content, found[0] + 2, 2, little)
        short = _number_at(content, found[0] + 8, 2, little)
        long = _number_at(content, found[0] + 8, 4, little)
        value = tf.where(kind == _SHORT, short, tf.where(kind == _LONG, long, _int64(1)))
        return tf.where((value >= 1) & (value <= 8), value, _int64(1))

    return tf.cond(tf.size(found) > 0, read, lambda: _int64(1))


def _number_at(
    content: tf.Tensor, position: tf.Tensor, count: int, little: tf.Tensor | None = None
) -> tf.Tensor:
    """Return the unsigned number of `count` bytes at a position, int64; big-endian by default."""
    values = _bytes_at(content, position, count)
    if little is not None:
        values = tf.where(little, values[::-1], values)
    return tf.reduce_sum(values * [256 ** (count - 1 - index) for index in range(count)])


def _bytes_at(content: tf.Tensor, position: tf.Tensor, count: int) -> tf.Tensor:
    """Return bytes as int64 [count]; 0 for those after the end."""
    last = tf.size(content, tf.int64) - 1
    positions = tf.minimum(position + tf.range(count, dtype=tf.int64), last)
    return tf.cast(tf.gather(content, positions), tf.int64)


def _equal(values: tf.Tensor, expected: list[int]) -> tf.Tensor:
    return tf.reduce_all(values == tf.constant(expected, tf.int64))


def _is_one_of(value: tf.Tensor, allowed: tuple[int, ...]) -> tf.Tensor:
    return tf.reduce_any(value == tf.constant(allowed, tf.int64))


def _int64(value: int) -> tf.Tensor:
    return tf.constant(value, tf.int64)
