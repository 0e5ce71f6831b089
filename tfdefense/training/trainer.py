"""The one loop: everything about training that is not the method."""

import dataclasses
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Protocol

import keras
import numpy as np
import tensorflow as tf

from tfdefense.data.core.batches import shuffled_batches
from tfdefense.errors import Preempted, WorkFailed, require, unknown_name
from tfdefense.training import precision
from tfdefense.training.checkpoints import Checkpoints
from tfdefense.training.distribute import multi_worker
from tfdefense.training.global_batch import seen_by
from tfdefense.training.preemption import Preemption
from tfdefense.training.replica import Replica
from tfdefense.training.summaries import Summaries
from tfdefense.utils.progress import Progress, say

BATCH_SIZE = 128
Scalars = dict[str, float]
Images = dict[str, np.ndarray]


class Task(Protocol):
    """What is trained: variables and one step. It knows nothing of the loop.

    Attributes:
      name: shown beside the progress bar.
      stopped: whether validation has seen enough, so that training ends before its last step.
    """

    name: str
    stopped: bool

    def checkpoint_items(self) -> dict[str, Any]:
        """Every trackable that training changes: networks, optimizers."""

    def train_step(self, batch: Mapping[str, tf.Tensor], replica: Replica) -> dict[str, tf.Tensor]:
        """One update from this replica's part of a batch; scalars that add up over replicas."""

    def finish(self) -> None:
        """What is to be done after the last step, before the last checkpoint."""


@dataclasses.dataclass(frozen=True)
class LoopConfig:
    """How a task is trained.

    Attributes:
      epochs: passes over the training images, at least 1.
      batch_size: examples in a step over all replicas, a multiple of their number.
      seed: order of data and all random draws of the steps follow from it.
      mixed_precision: what networks compute in, "float32" or "bfloat16"; see `precision.computing`.
      steps_per_loop: steps inside one call of the compiled loop; Python wakes up between calls.
      checkpoint_seconds: least time between two checkpoints.
      validations: how often in all, at most, to validate (never more often than once an epoch).

    Raises:
      UserError: a number out of range, or an unknown precision.
    """

    epochs: int
    batch_size: int = BATCH_SIZE
    seed: int = 0
    mixed_precision: str = "float32"
    steps_per_loop: int = 20
    checkpoint_seconds: float = 30.0
    validations: int = 20

    def __post_init__(self) -> None:
        for field in ("epochs", "batch_size", "steps_per_loop", "validations"):
            value = getattr(self, field)
            require(value >= 1, f"--{field}={value}: at least 1 needed.")
        require(self.seed >= 0, f"--seed={self.seed}: 0 or more needed.")
        if self.mixed_precision not in precision.NAMES:
            raise unknown_name("--mixed_precision", self.mixed_precision, precision.NAMES)

    def steps(self, count: int) -> int:
        """Steps in all, over `count` training examples."""
        return max(1, self.epochs * count // self.batch_size)


class Trainer:
    """Trains a task for a number of epochs, from its last checkpoint if there is one.

    Networks and optimizers of the task must have been made in the scope of the current
    `tf.distribute` strategy.

    Args:
      task: what to train.
      config: how.
      directory: for checkpoints and event files; None keeps nothing.
      describe: settings that TensorBoard shows beside the curves.
    """

    def __init__(
        self,
        task: Task,
        config: LoopConfig,
        directory: Path | None = None,
        describe: Mapping[str, Any] | None = None,
    ) -> None:
        self.task = task
        self.config = config
        self.strategy = tf.distribute.get_strategy()
        replicas = self.strategy.num_replicas_in_sync
        require(
            config.batch_size % replicas == 0,
            f"--batch_size={config.batch_size}: a multiple of the {replicas} replicas needed.",
        )
        self.checkpoints = Checkpoints(task.checkpoint_items(), directory)
        self.directory = directory
        self.describe = describe or {}
        self._names: list[str] = []

    def finished(self, count: int) -> bool:
        """Whether the last checkpoint is of a finished training over `count` training examples."""
        return self.checkpoints.restore() >= self.config.steps(count) or self.task.stopped

    def fit(
        self,
        arrays: Mapping[str, np.ndarray],
        validate: Callable[[], tuple[Scalars, Images]] | None = None,
    ) -> None:
        """Trains on `arrays` (name -> [N, ...]); `validate` gives scalars and image grids to log.

        Raises:
          WorkFailed: a loss is no longer finite; the last good checkpoint is kept.
          Preempted: SIGTERM came; the state is saved.
        """
        config = self.config
        count = len(next(iter(arrays.values())))
        steps = config.steps(count)
        validate_every = max(count // config.batch_size, steps // config.validations, 1)
        step = self.checkpoints.restore()
        if step:
            say(f"{self.task.name}: going on from step {step:,} of {steps:,}.")
        if step >= steps or self.task.stopped:
            return
        iterator = self.distribute(arrays, step)
        with (
            Progress(
                self.task.name, steps * config.batch_size, step * config.batch_size
            ) as progress,
            Summaries(self.directory) as summaries,
            Preemption() as preemption,
        ):
            if not step:
                summaries.settings(self.describe)
            while step < steps and not self.task.stopped:
                boundary = (step // validate_every + 1) * validate_every
                size = min(config.steps_per_loop, boundary - step, steps - step)
                started = time.monotonic()
                scalars = self.run(iterator, step, size)
                step += size
                images = size * config.batch_size
                scalars["images_per_second"] = images / (time.monotonic() - started)
                summaries.scalars("train", scalars, step)
                progress.advance(images, {k: v for k, v in scalars.items() if "loss" in k})
                if step == steps:
                    self.task.finish()
                if validate and (step in (boundary, steps)):
                    self._validate(validate, summaries, step)
                done = step == steps or self.task.stopped
                asked = multi_worker.any_of(preemption.asked)
                force = done or asked
                self.checkpoints.save(step, every=config.checkpoint_seconds, force=force)
                if asked and not done:
                    raise Preempted(
                        f"{self.task.name}: asked to stop (SIGTERM) at step {step:,} of {steps:,}."
                        f"{' Saved; the same command goes on from there.' if self.directory else ''}"
                    )

    def distribute(self, arrays: Mapping[str, np.ndarray], first_step: int = 0) -> Any:
        """An iterator over the shuffled batches from `first_step` on, that gives each replica its part."""
        config = self.config
        return iter(
            self.strategy.distribute_datasets_from_function(
                lambda context: shuffled_batches(
                    arrays, config.batch_size, config.seed, first_step, context
                )
            )
        )

    def run(self, iterator: Any, first: int, count: int) -> Scalars:
        """Steps `first` to `first + count - 1` on the next batches: the mean of each scalar.

        Raises:
          WorkFailed: a scalar is not finite.
        """
        items = self.task.checkpoint_items().values()
        networks = [item for item in items if isinstance(item, keras.Layer)]
        computing = precision.computing(networks, self.config.mixed_precision)
        with computing, seen_by(networks, self.strategy.num_replicas_in_sync):
            rows = self._loop(iterator, tf.constant(first, tf.int64), tf.constant(count, tf.int64))
        rows = rows.numpy()
        bad = ~np.isfinite(rows)
        if bad.any():
            row, column = np.argwhere(bad)[0]
            raise WorkFailed(
                f"{self.task.name}: {self._names[column]} is {rows[row, column]} at step"
                f" {first + row:,}. Training stopped; the last good checkpoint is kept. A lower learning rate may help."
            )
        return dict(zip(self._names, rows.mean(axis=0).tolist(), strict=True))

    @tf.function
    def _loop(self, iterator: Any, first: tf.Tensor, count: tf.Tensor) -> tf.Tensor:
        """`count` steps without Python: float32 [count, number of scalars]."""
        rows = tf.TensorArray(tf.float32, size=tf.cast(count, tf.int32), infer_shape=False)
        for i in tf.range(count):
            row = self.strategy.run(self._replica_step, args=(next(iterator), first + i))
            total = self.strategy.reduce(tf.distribute.ReduceOp.SUM, row, axis=None)
            rows = rows.write(tf.cast(i, tf.int32), total)
        return rows.stack()

    def _replica_step(self, batch: Mapping[str, tf.Tensor], step: tf.Tensor) -> tf.Tensor:
        scalars = self.task.train_step(
            batch, Replica(self.config.seed, step, self.config.batch_size)
        )
        self._names = list(scalars)  # Runs while tracing; the values keep this order.
        return tf.stack([tf.cast(value, tf.float32) for value in scalars.values()])

    def _validate(
        self, validate: Callable[[], tuple[Scalars, Images]], summaries: Summaries, step: int
    ) -> None:
        scalars, images = validate()
        summaries.scalars("validation", scalars, step)
        summaries.images("validation", images, step)
        text = "  ".join(
            f"{name} {value:.3g}" if "loss" in name else f"{name} {value:.1%}"
            for name, value in scalars.items()
        )
        say(f"{self.task.name}: step {step:,}: validation {text}")
