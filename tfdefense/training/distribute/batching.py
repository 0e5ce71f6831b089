"""A function of a batch, applied to many images on all devices and on all workers."""

import contextlib
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import tensorflow as tf

from tfdefense.training.distribute import multi_worker
from tfdefense.utils import cluster
from tfdefense.utils.progress import ProgressBar

# Slice of n examples -> a tensor [n, ...], or a structure of such tensors.
BatchFunction = Callable[[slice], Any]


def map_batches(
    function: BatchFunction, count: int, batch_size: int, title: str | None = None
) -> Any:
    """Apply a function to `count` examples batch by batch and concatenate the results.

    The batches are shared by the workers.

    Args:
      function: maps a slice of n examples to a tensor [n, ...] or a structure of such tensors.
      count: the number of examples, at least 1.
      batch_size: the number of examples in a batch; the last batch may be smaller.
      title: the title of a progress bar; None shows none.

    Returns:
      NumPy arrays [count, ...] in the same structure, complete on every worker.
    """
    results = [result for _, result in iterate_batches(function, count, batch_size, title)]
    return tf.nest.map_structure(lambda *parts: np.concatenate(parts), *results)


def iterate_batches(
    function: BatchFunction, count: int, batch_size: int, title: str | None = None
) -> Iterator[tuple[slice, Any]]:
    """Apply a function as `map_batches` does, and yield the results as they are computed.

    Yields:
      A slice of examples, and the NumPy arrays for them: one batch from each worker.
    """
    starts = range(0, count, batch_size)
    workers, index = cluster.worker_count(), cluster.worker_index()
    with ProgressBar(title, count) if title else contextlib.nullcontext() as progress:
        for turn in range(0, len(starts), workers):
            turn_starts = starts[turn : turn + workers]
            # In the last turn there may be no batch for this worker. It then repeats the last batch,
            # because all workers must take part in the gathering, and contributes no rows.
            start = turn_starts[min(index, len(turn_starts) - 1)]
            result = function(slice(start, min(start + batch_size, count)))
            rows = None if index < len(turn_starts) else 0
            result = tf.nest.map_structure(
                lambda tensor, rows=rows: multi_worker.gather_arrays(np.asarray(tensor)[:rows]),
                result,
            )
            done = slice(turn_starts[0], min(turn_starts[-1] + batch_size, count))
            if progress:
                progress.advance(done.stop - done.start)
            yield done, result


def split_over_replicas(function: Callable[..., Any]) -> Callable[..., Any]:
    """Return `function`, computed on all devices that the current strategy has in this process.

    Each device gets an equal share of the examples. With one device the result is `function`.

    Args:
      function: maps tensors [N, ...] to tensors [N, ...], each example independent of the others.
    """
    strategy, devices = tf.distribute.get_strategy(), cluster.local_replicas()
    if devices == 1:
        return function

    def split_function(*tensors: tf.Tensor) -> Any:
        count = tf.shape(tensors[0])[0]
        share = -(-count // devices)

        def replica_step() -> Any:
            device = tf.distribute.get_replica_context().replica_id_in_sync_group % devices
            # If N is not a multiple of the devices, the last example is computed again.
            rows = tf.minimum(device * share + tf.range(share), count - 1)
            return function(*(tf.gather(tensor, rows) for tensor in tensors))

        results = strategy.run(replica_step)
        return tf.nest.map_structure(
            lambda result: tf.concat(strategy.experimental_local_results(result), axis=0)[:count],
            results,
        )

    return split_function
