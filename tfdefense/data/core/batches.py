"""Endless shuffled batches whose order is a function of (seed, step) alone."""

from collections.abc import Callable, Mapping

import numpy as np
import tensorflow as tf

from tfdefense.data.core.disk_array import DiskArray


def shuffled_batches(
    arrays: Mapping[str, np.ndarray | DiskArray],
    batch_size: int,
    seed: int,
    first_step: int = 0,
    context: tf.distribute.InputContext | None = None,
) -> tf.data.Dataset:
    """Batches for training, from `first_step` on, without end.

    The stream is one permutation of the examples after another, cut into batches without regard to
    where a pass ends, so that every batch is full. A permutation is computed from (seed, pass)
    when it is needed: a run that was killed starts at once where it stopped and sees exactly the
    batches that it would have seen.

    Args:
      arrays: name -> array [N, ...]; all of the same N. Those on disk are read as they are needed.
      batch_size: examples in a batch (over all replicas).
      seed: fixes all permutations.
      first_step: how many batches to leave out at the beginning.
      context: whose replicas are fed; each gets its part of every batch, one after the other. None means one
        replica.

    Returns:
      A dataset of {name: tensor [batch_size / replicas, ...]}.
    """
    count = len(next(iter(arrays.values())))
    context = context or tf.distribute.InputContext()
    replicas = context.num_replicas_in_sync
    fed = replicas // context.num_input_pipelines
    first_fed = context.input_pipeline_id * fed
    rows = {name: _rows(array) for name, array in arrays.items()}
    first_pass, offset = divmod(first_step * batch_size, count)

    def permutation(number: tf.Tensor) -> tf.data.Dataset:
        order = tf.random.experimental.stateless_shuffle(
            tf.range(count, dtype=tf.int64), seed=tf.stack([tf.constant(seed, tf.int64), number])
        )
        return tf.data.Dataset.from_tensor_slices(order)

    def parts(indices: tf.Tensor) -> tf.data.Dataset:
        shares = tf.reshape(indices, [replicas, batch_size // replicas])
        return tf.data.Dataset.from_tensor_slices(shares[first_fed : first_fed + fed])

    def gather(indices: tf.Tensor) -> dict[str, tf.Tensor]:
        return {name: take(indices) for name, take in rows.items()}

    passes = tf.data.Dataset.range(first_pass, np.iinfo(np.int64).max)
    examples = passes.flat_map(permutation).skip(offset)
    batches = examples.batch(batch_size, drop_remainder=True)
    if replicas > 1:
        batches = batches.flat_map(parts)
    return batches.map(gather, num_parallel_calls=1, deterministic=True).prefetch(2)


def _rows(array: np.ndarray | DiskArray) -> Callable[[tf.Tensor], tf.Tensor]:
    """A function from indices int64 [n] to those rows."""
    if not isinstance(array, DiskArray):
        tensor = tf.convert_to_tensor(array)
        return lambda indices: tf.gather(tensor, indices)

    def read(indices: tf.Tensor) -> tf.Tensor:
        values = tf.numpy_function(array.__getitem__, [indices], tf.as_dtype(array.dtype))
        # The same static shape as in memory, so that the same graph comes of it, to the last bit.
        return tf.ensure_shape(values, [*indices.shape, *array.shape[1:]])

    return read
