"""Random numbers that belong to an image, not to its place in a batch.

A batch that is cut otherwise, resumed half-way or thinned of finished images would draw other
numbers from a generator of the batch's shape, and give other results. Here they are a hash of
(image, seed, stream, index), so what an attack makes of an image is a function of that image.
"""

import tensorflow as tf

_FURTHEST = 1 - 2.0**-22


def image_keys(images: tf.Tensor, seed: int | tf.Tensor) -> tf.Tensor:
    """uint32 [N] from images float32 [N, H, W, C] and a seed."""
    bits = tf.bitcast(tf.reshape(images, [tf.shape(images)[0], -1]), tf.uint32)
    values = tf.shape(bits)[1]
    positions = _mix(tf.cast(tf.range(values), tf.uint32) + _uint32(0x9E3779B9))
    return _mix(tf.reduce_sum(_mix(bits ^ positions), axis=1) ^ _mix(tf.cast(seed, tf.uint32)))


def uniform(keys: tf.Tensor, shape: list[int | tf.Tensor], stream: int | tf.Tensor) -> tf.Tensor:
    """float32 [N, *shape] in [0, 1).

    Args:
      keys: `image_keys`.
      shape: of what each image gets; [] for one number.
      stream: tells draws apart, for instance the number of a step.
    """
    size = tf.reduce_prod(tf.constant(shape, tf.int32)) if _static(shape) else _product(shape)
    indices = _mix(tf.cast(tf.range(size), tf.uint32) + _uint32(0x85EBCA6B))
    streams = _mix(keys + _mix(tf.cast(stream, tf.uint32) + _uint32(0x9E3779B9)))
    bits = tf.bitwise.right_shift(_mix(streams[:, None] ^ indices), _uint32(8))
    return tf.reshape(tf.cast(bits, tf.float32) / 2**24, [tf.shape(keys)[0], *shape])


def normal(keys: tf.Tensor, shape: list[int | tf.Tensor], stream: int | tf.Tensor) -> tf.Tensor:
    """float32 [N, *shape], standard normal."""
    # Half a grain off 0 and 1, where the inverse is infinite; in float32 it is so a grain before 1 already.
    centred = 2 * uniform(keys, shape, stream) - 1 + 2.0**-24
    return 2**0.5 * tf.math.erfinv(tf.clip_by_value(centred, -_FURTHEST, _FURTHEST))


def signs(keys: tf.Tensor, shape: list[int | tf.Tensor], stream: int | tf.Tensor) -> tf.Tensor:
    """float32 [N, *shape] of -1 and 1."""
    return tf.where(uniform(keys, shape, stream) < 0.5, -1.0, 1.0)


def integers(keys: tf.Tensor, limit: int | tf.Tensor, stream: int | tf.Tensor) -> tf.Tensor:
    """int32 [N] in [0, limit)."""
    drawn = uniform(keys, [], stream) * tf.cast(limit, tf.float32)
    return tf.minimum(tf.cast(drawn, tf.int32), limit - 1)


def _mix(values: tf.Tensor) -> tf.Tensor:
    """A bijection of uint32 in which every input bit moves every output bit (Wellons' lowbias32)."""
    for shift, factor in ((16, 0x7FEB352D), (15, 0x846CA68B)):
        values = (values ^ tf.bitwise.right_shift(values, _uint32(shift))) * _uint32(factor)
    return values ^ tf.bitwise.right_shift(values, _uint32(16))


def _uint32(value: int) -> tf.Tensor:
    return tf.constant(value, tf.uint32)


def _static(shape: list) -> bool:
    return all(isinstance(size, int) for size in shape)


def _product(shape: list) -> tf.Tensor:
    return tf.reduce_prod(tf.stack(shape))
