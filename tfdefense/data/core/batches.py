"""Endless shuffled batches whose order is a function of (seed, step) alone."""

from collections.abc import Callable, Mapping

import numpy as np
import tensorflow as tf

from tfdefense.data.core.disk_array import DiskArray

# Batches that are read at the same time. Any number gives the same batches in the same order.
_READERS = 1


def shuffled_batches(
    arrays: Mapping[str, np.ndarray | DiskArray],
    batch_size: int,
    seed: int,
    first_step: int = 0,
    context: tf.distribute.InputContext | None = None,
) -> tf.data.Dataset:
    """Return an endless stream of training batches that starts at `first_step`.

    The stream is one permutation of the examples after another, cut into batches without regard to
    the end of an epoch, so every batch is full. Each permutation is computed from (seed, epoch) when it
    is needed. So a resumed run starts at once, with exactly the batches that would have come next.

    Args:
      arrays: name -> array [N, ...]; all with the same N. Rows on disk are read when needed.
      batch_size: examples in a batch, over all replicas.
      seed: seed of all permutations.
      first_step: number of batches to skip at the beginning.
      context: the replicas that this input pipeline feeds. Each gets its part of every batch, one
        after the other. None means one replica.

    Returns:
      A dataset of {name: tensor [batch_size / replicas, ...]}.
    """
    count = len(next(iter(arrays.values())))
    context = context or tf.distribute.InputContext()
    replicas = context.num_replicas_in_sync
    fed = replicas // context.num_input_pipelines
    first_fed = context.input_pipeline_id * fed
    gather_rows = {name: _make_gather(array) for name, array in arrays.items()}
    first_pass, offset = divmod(first_step * batch_size, count)

    # AutoGraph would convert these functions, which takes longer than to trace them.
    @tf.autograph.experimental.do_not_convert
    def permutation(number: tf.Tensor) -> tf.data.Dataset:
        order = tf.random.experimental.stateless_shuffle(
            tf.range(count, dtype=tf.int64), seed=tf.stack([tf.constant(seed, tf.int64), number])
        )
        return tf.data.Dataset.from_tensor_slices(order)

    @tf.autograph.experimental.do_not_convert
    def parts(indices: tf.Tensor) -> tf.data.Dataset:
        shares = tf.reshape(indices, [replicas, batch_size // replicas])
        return tf.data.Dataset.from_tensor_slices(shares[first_fed : first_fed + fed])

    @tf.autograph.experimental.do_not_convert
    def gather(indices: tf.Tensor) -> dict[str, tf.Tensor]:
        return {name: gather_one(indices) for name, gather_one in gather_rows.items()}

    passes = tf.data.Dataset.range(first_pass, np.iinfo(np.int64).max)
    examples = passes.flat_map(permutation).skip(offset)
    batches = examples.batch(batch_size, drop_remainder=True)
    if replicas > 1:
        batches = batches.flat_map(parts)
    return batches.map(gather, num_parallel_calls=_READERS, deterministic=True).prefetch(2)


def _make_gather(array: np.ndarray | DiskArray) -> Callable[[tf.Tensor], tf.Tensor]:
    """Return a function that maps indices int64 [n] to these rows of `array`."""
    if not isinstance(array, DiskArray):
        tensor = tf.convert_to_tensor(array)
        return lambda indices: tf.gather(tensor, indices)

    def read(indices: tf.Tensor) -> tf.Tensor:
        values = tf.numpy_function(array.__getitem__, [indices], tf.as_dtype(array.dtype))
        # With the same static shape as in memory, the graph is the same, and so is the last bit.
        return tf.ensure_shape(values, [*indices.shape, *array.shape[1:]])

    return read
