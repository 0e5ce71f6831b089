"""Many images through a function that takes a batch: over all devices of this process, and over all workers."""

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import tensorflow as tf

from tfdefense.training.distribute import multi_worker
from tfdefense.utils import cluster
from tfdefense.utils.progress import Progress

Function = Callable[[slice], Any]


def in_batches(function: Function, count: int, batch_size: int, what: str | None = None) -> Any:
    """What `function(slice)` gives for `count` examples, batch after batch, under each other.

    Args:
      function: gives one tensor [n, ...] of the n examples in a slice, or a structure of them.
      count: examples in all, at least 1.
      batch_size: examples in a batch.
      what: a name for the progress that is shown; None shows none.

    Returns:
      NumPy arrays [count, ...], in the same structure; in every worker, whoever computed them.
    """
    answers = [answer for _, answer in each_batch(function, count, batch_size, what)]
    return tf.nest.map_structure(lambda *parts: np.concatenate(parts), *answers)


def each_batch(
    function: Function, count: int, batch_size: int, what: str | None = None
) -> Iterator[tuple[slice, Any]]:
    """The same bit by bit: which examples, and the arrays for them."""
    starts = range(0, count, batch_size)
    number, mine = cluster.worker_count(), cluster.worker_index()
    progress = Progress(what, count) if what else None
    for turn in range(0, len(starts), number):
        given = starts[turn : turn + number]
        # In the last turn there may be no batch for this worker; it lends its ear, and gives nothing.
        start = given[min(mine, len(given) - 1)]
        answer = function(slice(start, min(start + batch_size, count)))
        rows = None if mine < len(given) else 0
        answer = tf.nest.map_structure(
            lambda tensor, rows=rows: multi_worker.gathered(np.asarray(tensor)[:rows]), answer
        )
        done = slice(given[0], min(given[-1] + batch_size, count))
        if progress:
            progress.advance(done.stop - done.start)
        yield done, answer
    if progress:
        progress.close()


def over_replicas(function: Callable[..., Any]) -> Callable[..., Any]:
    """`function` of tensors [N, ...] on all devices that the current strategy has here, each with its share of N.

    It must treat examples one by one. With a single device it is `function` itself.
    """
    strategy, devices = tf.distribute.get_strategy(), cluster.local_replicas()
    if devices == 1:
        return function

    def spread(*tensors: tf.Tensor) -> Any:
        count = tf.shape(tensors[0])[0]
        share = -(-count // devices)

        def replica_step() -> Any:
            which = tf.distribute.get_replica_context().replica_id_in_sync_group % devices
            # Whoever has too few takes the last example again.
            rows = tf.minimum(which * share + tf.range(share), count - 1)
            return function(*(tf.gather(tensor, rows) for tensor in tensors))

        answers = strategy.run(replica_step)
        return tf.nest.map_structure(
            lambda answer: tf.concat(strategy.experimental_local_results(answer), axis=0)[:count],
            answers,
        )

    return spread
