"""Collective calls between worker processes: wait, gather arrays, and run code on the chief only.

Under `tf.distribute.MultiWorkerMirroredStrategy` every process (worker) runs the same program on
its part of each batch. Worker 0, the chief, is the only one that writes into the run directory.
All workers need access to that directory. In the scope of any other strategy there is one worker,
and the functions here return at once.

All workers must call these functions in the same order.
"""

from collections.abc import Callable, Sequence
from concurrent import futures
from typing import Any, TypeVar

import numpy as np
import tensorflow as tf

from tfdefense import errors
from tfdefense.utils.cluster import is_chief, local_replicas, worker_count
from tfdefense.utils.interruptible_wait import interruptible_wait

Result = TypeVar("Result")
# After a signal the other workers have this long to arrive. After SIGTERM all save a checkpoint
# together, and one of them can be in a slow step, or work alone.
_GRACE_SECONDS = 15.0
_GRACE_SECONDS_OF_SIGTERM = 600.0


def any_worker(condition: object) -> bool:
    """Return true in all workers if `condition` is true in at least one of them."""
    return bool(gather_arrays(np.array([bool(condition)])).any())


def wait_for_workers() -> None:
    """Return when every worker has called this function."""
    any_worker(None)


def gather_arrays(array: np.ndarray) -> np.ndarray:
    """Return the arrays [n, ...] of all workers, concatenated in the order of the workers.

    `n` may differ between workers, and may be 0.
    """
    if worker_count() == 1:
        return array
    strategy = tf.distribute.get_strategy()
    # Collectives support four dtypes: 32 and 64 bit integers and floats.
    unsupported = array.dtype.kind == "b" or array.dtype.itemsize < 4
    values = array.astype(np.int32) if unsupported else array
    replicas = local_replicas()
    # A tensor without rows cannot be sent, so each part gets an empty first row.
    padding = np.zeros_like(values, shape=(1, *values.shape[1:]))
    parts = [np.concatenate([padding, part]) for part in np.array_split(values, replicas)]

    def gather(per_replica: Sequence[Any]) -> np.ndarray:
        distributed = strategy.experimental_distribute_values_from_function(
            lambda context: tf.constant(per_replica[context.replica_id_in_sync_group % replicas])
        )
        return _concatenate_replicas(distributed).numpy()

    with interruptible_wait("the other workers", _GRACE_SECONDS, _GRACE_SECONDS_OF_SIGTERM):
        sizes = gather([[len(part)] for part in parts])
        gathered = np.split(gather(parts), np.cumsum(sizes)[:-1])
    return np.concatenate([part[1:] for part in gathered]).astype(array.dtype)


def run_on_chief(work: Callable[[], Result]) -> Result | None:
    """Call `work` on the chief only, while the other workers wait.

    Returns:
      The result of `work` on the chief, None on the other workers.

    Raises:
      UserError, WorkFailedError: raised by `work`; raised on every worker.
      OSError: raised by `work`; raised on the chief. The other workers raise `WorkFailedError`.
    """
    if worker_count() == 1:
        return work()
    result, failure, message = None, None, b""
    if is_chief():
        try:
            # A new thread has no strategy, so `work` cannot wait for workers that do not run it.
            with futures.ThreadPoolExecutor(1) as executor:
                result = executor.submit(work).result()
        except (errors.UserError, errors.WorkFailedError, OSError) as error:
            failure = error
            kind = "WorkFailedError" if isinstance(error, OSError) else type(error).__name__
            message = f"{kind}\n{error}".encode("utf-8", "surrogatepass")
    message = bytes(gather_arrays(np.frombuffer(message, np.uint8)))
    if failure:
        raise failure
    if message:
        kind, text = message.decode("utf-8", "surrogatepass").split("\n", 1)
        raise getattr(errors, kind)(text)
    return result


@tf.function(autograph=False, reduce_retracing=True)
def _concatenate_replicas(parts: Any) -> tf.Tensor:
    return tf.distribute.get_strategy().gather(parts, axis=0)
