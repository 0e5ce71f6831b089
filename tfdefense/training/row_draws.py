"""Random numbers of some rows of a batch, without those of the other rows.

The result has the bits of `tf.random.stateless_uniform(...)[first : first + count]`. Philox (Salmon,
Moraes, Dror, Shaw, "Parallel Random Numbers: As Easy as 1, 2, 3", SC 2011) computes four numbers from
each value of a counter, so a replica begins at the counter of its first row.
"""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import tensorflow as tf

_PHILOX = 1
_NUMBERS_PER_COUNTER = 4


class Rows(NamedTuple):
    """Rows of a batch: `count` rows from row `first` on. Both may be tensors."""

    first: Any
    count: Any


def uniform_rows(
    rows: Rows, row_shape: Sequence[Any], seed: tf.Tensor, dtype: tf.DType = tf.float32
) -> tf.Tensor:
    """Return uniform numbers in [0, 1), of type `dtype` [count, *row_shape].

    Args:
      rows: which rows of the batch.
      row_shape: shape of a row; sizes may be tensors.
      seed: int32 or int64 [2], the same for all rows of the batch.
      dtype: float32 or bfloat16.
    """
    return _draw(tf.raw_ops.StatelessRandomUniformV2, rows, row_shape, seed, dtype)


def normal_rows(rows: Rows, row_shape: Sequence[Any], seed: tf.Tensor) -> tf.Tensor:
    """Return standard normal numbers, float32 [count, *row_shape]; arguments as in `uniform_rows`."""
    return _draw(tf.raw_ops.StatelessRandomNormalV2, rows, row_shape, seed, tf.float32)


def _draw(
    operation: Callable[..., tf.Tensor],
    rows: Rows,
    row_shape: Sequence[Any],
    seed: tf.Tensor,
    dtype: tf.DType,
) -> tf.Tensor:
    shape = [tf.cast(size, tf.int64) for size in (rows.count, *row_shape)]
    row_size = tf.reduce_prod(tf.cast(shape[1:], tf.int64))
    before = tf.cast(rows.first, tf.int64) * row_size
    skipped, lead = before // _NUMBERS_PER_COUNTER, before % _NUMBERS_PER_COUNTER
    key, counter = tf.raw_ops.StatelessRandomGetKeyCounter(seed=seed)
    total = shape[0] * row_size
    numbers = operation(
        shape=[total + _NUMBERS_PER_COUNTER - 1],
        key=key,
        counter=_advance(counter, tf.cast(skipped, tf.uint64)),
        alg=_PHILOX,
        dtype=dtype,
    )
    drawn = tf.reshape(numbers[lead : lead + total], shape)
    return tf.ensure_shape(drawn, [tf.get_static_value(size) for size in shape])


def _advance(counter: tf.Tensor, steps: tf.Tensor) -> tf.Tensor:
    """Return a counter of 128 bits, uint64 [2] with the low word first, plus `steps`."""
    low = counter[0] + steps
    return tf.stack([low, counter[1] + tf.cast(low < steps, tf.uint64)])
