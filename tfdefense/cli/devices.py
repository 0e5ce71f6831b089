"""Flags that select devices, and the strategy that they select."""

import contextlib
import dataclasses
import os
from collections.abc import Iterator

import tensorflow as tf

from tfdefense.cli.flags import CommandFlags, FlagValues
from tfdefense.cli.tensorflow_stand_in import require_tensorflow
from tfdefense.errors import WorkFailedError, short_reason
from tfdefense.training.distribute import strategies
from tfdefense.utils import cluster

_WORKER_GONE = (
    tf.errors.UnavailableError,
    tf.errors.AbortedError,
    tf.errors.CancelledError,
    tf.errors.InternalError,
    tf.errors.DeadlineExceededError,
)


def add_device_flags(flags: CommandFlags) -> None:
    """Define the flags that select devices."""
    group = "devices"
    flags.add(
        group,
        "strategy",
        str,
        "mirrored: one replica on each GPU, or one on the CPU; one_device; per_core: one replica on each"
        " core of the CPU, for networks without batch normalisation (docs/guides/distributed.md); or"
        " multi_worker: all processes that TF_CONFIG lists, each of which runs this same command"
        " (default: mirrored).",
    )
    flags.add(
        group,
        "deterministic",
        bool,
        "Use only operations that give the same bits every time (default: on the CPU; slower on GPUs).",
    )


@dataclasses.dataclass(frozen=True)
class DeviceSelection:
    """Devices that the flags select.

    Attributes:
      strategy: name of a strategy.
      deterministic: whether to use only deterministic operations; None: unless there is a GPU.

    Raises:
      UserError: an unknown strategy.
    """

    strategy: str = "mirrored"
    deterministic: bool | None = None

    def __post_init__(self) -> None:
        strategies.check_strategy(self.strategy)


def pop_device_flags(given: FlagValues) -> DeviceSelection:
    """Remove the flags of `add_device_flags` from `given`; return what they select."""
    names = [field.name for field in dataclasses.fields(DeviceSelection)]
    return DeviceSelection(**{name: given.pop(name) for name in names if name in given})


@contextlib.contextmanager
def selected_devices(selection: DeviceSelection) -> Iterator[None]:
    """Enter the strategy that is selected: from here on a command needs TensorFlow.

    Of several workers, only the chief prints to standard output. Each prints its own errors.

    Raises:
      UserError: the strategy cannot be made.
      WorkFailedError: another worker has stopped.
    """
    require_tensorflow()
    deterministic = selection.deterministic
    if deterministic is None:
        has_gpus = bool(tf.config.list_physical_devices("GPU"))
        deterministic = selection.strategy == "per_core" or not has_gpus
    if deterministic:
        tf.config.experimental.enable_op_determinism()
        tf.random.set_seed(0)  # For custom models that draw random numbers without a seed.
    with contextlib.ExitStack() as entered:
        strategy = strategies.make_strategy(selection.strategy)
        entered.enter_context(strategy.scope())
        if not cluster.is_chief():
            nowhere = entered.enter_context(open(os.devnull, "w", encoding="utf-8"))
            entered.enter_context(contextlib.redirect_stdout(nowhere))
        try:
            yield
        except _WORKER_GONE as error:
            if cluster.worker_count() == 1:
                raise
            raise WorkFailedError(
                f"worker {cluster.worker_index()} of {cluster.worker_count()}: another worker has stopped"
                " or cannot be reached. Start all workers again with the same command: they resume from"
                f" the last checkpoint. TensorFlow says: {short_reason(error)}"
            ) from error
