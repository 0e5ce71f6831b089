"""Several processes that do one piece of work together: who writes, and how all learn what each found.

Under `tf.distribute.MultiWorkerMirroredStrategy` every process (worker) runs the same program on its part of
each batch. The first of them, the chief, is the only one that writes into the run directory, which all of them
see. In the scope of any other strategy there is one worker, and nothing here does more than it says.

What is named here must be called by all workers, in the same order.
"""

from collections.abc import Callable, Sequence
from concurrent import futures
from typing import Any

import numpy as np
import tensorflow as tf

from tfdefense import errors
from tfdefense.utils.cluster import is_chief, local_replicas, worker_count


def any_of(flag: bool) -> bool:
    """Whether `flag` is true in any worker."""
    return bool(gathered(np.array([flag])).any())


def wait_for_all() -> None:
    """Returns when every worker has come here."""
    any_of(False)


def gathered(mine: np.ndarray) -> np.ndarray:
    """The arrays [n, ...] of all workers under each other, in their order; n may differ, and be 0."""
    if worker_count() == 1:
        return mine
    strategy = tf.distribute.get_strategy()
    narrow = mine.dtype.kind == "b" or mine.dtype.itemsize < 4  # Collectives know four types.
    sent = mine.astype(np.int32) if narrow else mine
    replicas = local_replicas()
    # With a row in front that is no one's, for a tensor without rows cannot be sent.
    empty = np.zeros_like(sent, shape=(1, *sent.shape[1:]))
    parts = [np.concatenate([empty, part]) for part in np.array_split(sent, replicas)]

    def collected(values: Sequence[Any]) -> np.ndarray:
        mine = strategy.experimental_distribute_values_from_function(
            lambda context: tf.constant(values[context.replica_id_in_sync_group % replicas])
        )
        return _together(mine).numpy()

    sizes = collected([[len(part)] for part in parts])
    found = np.split(collected(parts), np.cumsum(sizes)[:-1])
    return np.concatenate([part[1:] for part in found]).astype(mine.dtype)


def by_chief(work: Callable[[], Any]) -> Any:
    """Does `work` in the chief alone, while the others wait; its result there, None elsewhere.

    Raises:
      UserError, WorkFailed, OSError: what it raised, in every worker.
    """
    if worker_count() == 1:
        return work()
    result, failure, told = None, None, b""
    if is_chief():
        try:
            # In a thread of its own no strategy is in force: what others take no part in cannot wait for them.
            with futures.ThreadPoolExecutor(1) as alone:
                result = alone.submit(work).result()
        except (errors.UserError, errors.WorkFailed, OSError) as error:
            failure = error
            kind = "WorkFailed" if isinstance(error, OSError) else type(error).__name__
            told = f"{kind}\n{error}".encode()
    told = bytes(gathered(np.frombuffer(told, np.uint8)))
    if failure:
        raise failure
    if told:
        kind, message = told.decode().split("\n", 1)
        raise getattr(errors, kind)(message)
    return result


@tf.function(reduce_retracing=True)
def _together(parts: Any) -> tf.Tensor:
    return tf.distribute.get_strategy().gather(parts, axis=0)
