"""Random numbers that depend on the image and not on its place in a batch.

The numbers of a generator with the shape of the batch would change if the data were split into
other batches, if a run were resumed, or if finished images left the batch. The numbers here are a
hash of (image, seed, stream, index). The result of an attack on an image is therefore a function of
that image.
"""

import tensorflow as tf

Shape = list[int | tf.Tensor]

_LARGEST_UNIFORM = 1 - 2.0**-22


def image_keys(
    images: tf.Tensor, seed: int | tf.Tensor, draw: int | tf.Tensor | None = None
) -> tf.Tensor:
    """Return a hash of each image, the seed and the draw, uint32 [N].

    Args:
      images: float32 [N, H, W, C].
      seed: seed.
      draw: number that selects other random numbers for the same image and seed: an integer, or
        a tensor of integers [] or [N]. None also selects some, which no number selects.
    """
    bits = tf.bitcast(tf.reshape(images, [tf.shape(images)[0], -1]), tf.uint32)
    values = tf.shape(bits)[1]
    positions = _mix(tf.cast(tf.range(values), tf.uint32) + _uint32(0x9E3779B9))
    keys = _mix(tf.reduce_sum(_mix(bits ^ positions), axis=1) ^ _mix(tf.cast(seed, tf.uint32)))
    if draw is None:
        return keys
    return _mix(keys + _mix(tf.cast(draw, tf.uint32) + _uint32(0x7F4A7C15)))


def draw_in_stream(stream: int | tf.Tensor, number: int | tf.Tensor) -> tf.Tensor:
    """Return the draw with this number in a stream of draws, uint32, for `image_keys`.

    Streams begin at distant draws, so that the first draws of one are no draws of another.

    Args:
      stream: integer [].
      number: integer [] or [N], from 0.
    """
    return _mix(tf.cast(stream, tf.uint32) + _uint32(0x9E3779B9)) + tf.cast(number, tf.uint32)


def uniform(keys: tf.Tensor, shape: Shape, stream: int | tf.Tensor) -> tf.Tensor:
    """Return uniform numbers in [0, 1), float32 [N, *shape].

    Args:
      keys: result of `image_keys`.
      shape: shape of the numbers of one image; [] for a single number.
      stream: number that separates independent draws, for instance the index of a step.
    """
    size = tf.reduce_prod(tf.constant(shape, tf.int32)) if _is_static(shape) else _product(shape)
    indices = _mix(tf.cast(tf.range(size), tf.uint32) + _uint32(0x85EBCA6B))
    streams = _mix(keys + _mix(tf.cast(stream, tf.uint32) + _uint32(0x9E3779B9)))
    bits = tf.bitwise.right_shift(_mix(streams[:, None] ^ indices), _uint32(8))
    return tf.reshape(tf.cast(bits, tf.float32) / 2**24, [tf.shape(keys)[0], *shape])


def normal(keys: tf.Tensor, shape: Shape, stream: int | tf.Tensor) -> tf.Tensor:
    """Return standard normal numbers, float32 [N, *shape]; arguments as for `uniform`."""
    # Half a grid step away from -1 and 1, where the inverse is infinite. In float32 it is already
    # infinite one step before 1, so the values are clipped too.
    centred = 2 * uniform(keys, shape, stream) - 1 + 2.0**-24
    return 2**0.5 * tf.math.erfinv(tf.clip_by_value(centred, -_LARGEST_UNIFORM, _LARGEST_UNIFORM))


def signs(keys: tf.Tensor, shape: Shape, stream: int | tf.Tensor) -> tf.Tensor:
    """Return -1 or 1 with equal probability, float32 [N, *shape]; arguments as for `uniform`."""
    return tf.where(uniform(keys, shape, stream) < 0.5, -1.0, 1.0)


def integers(keys: tf.Tensor, limit: int | tf.Tensor, stream: int | tf.Tensor) -> tf.Tensor:
    """Return one uniform integer per image in [0, limit), int32 [N]."""
    drawn = uniform(keys, [], stream) * tf.cast(limit, tf.float32)
    return tf.minimum(tf.cast(drawn, tf.int32), limit - 1)


def _mix(values: tf.Tensor) -> tf.Tensor:
    """Hash uint32 values by a bijection: every input bit affects every output bit.

    It is lowbias32 of Chris Wellons.
    """
    for shift, factor in ((16, 0x7FEB352D), (15, 0x846CA68B)):
        values = (values ^ tf.bitwise.right_shift(values, _uint32(shift))) * _uint32(factor)
    return values ^ tf.bitwise.right_shift(values, _uint32(16))


def _uint32(value: int) -> tf.Tensor:
    return tf.constant(value, tf.uint32)


def _is_static(shape: Shape) -> bool:
    return all(isinstance(size, int) for size in shape)


def _product(shape: Shape) -> tf.Tensor:
    return tf.reduce_prod(tf.stack(shape))
