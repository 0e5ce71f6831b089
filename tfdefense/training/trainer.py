"""The training loop. It knows nothing about the method that it trains: that is the `Task`.

`Trainer.fit` repeats, until the last step:

1. Run up to `steps_per_loop` steps in one compiled call; fewer if the images are large.
2. Log the scalars.
3. Validate if it is due.
4. Save a checkpoint if it is due. Stop if SIGTERM arrived.

The calls are nested as follows. `fit` and `run_steps` are Python; everything below is compiled.

    fit -> run_steps -> _loop -> _replica_step (on every replica) -> Task.train_step

Data and random numbers are functions of (seed, step), so a run that is killed and resumed ends with
the same bits.
"""

import math
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from tfdefense.data.core.batches import shuffled_batches
from tfdefense.data.core.disk_array import DiskArray
from tfdefense.errors import PreemptedError, WorkFailedError
from tfdefense.training.checkpoints import Checkpoints
from tfdefense.training.distribute import multi_worker
from tfdefense.training.frozen_networks import infer_fast
from tfdefense.training.fused_batch_norm import use_fused_batch_norm
from tfdefense.training.global_batch import use_global_batch
from tfdefense.training.loop_config import LoopConfig, require_equal_shares
from tfdefense.training.mixed_precision import compute_in
from tfdefense.training.precision_trial import report_slow_precision
from tfdefense.training.preemption import PreemptionHandler
from tfdefense.training.replica import Replica
from tfdefense.training.summaries import SummaryWriter
from tfdefense.training.task import Scalars, Task, Validate
from tfdefense.training.weight_gradients import use_patch_products
from tfdefense.utils.progress import ProgressBar, print_line

_VALUES_PER_CALL = 20 * 128 * 32 * 32 * 3  # 20 steps on the batches of small colour images.


class Trainer:
    """Trainer of one task. It resumes from the last checkpoint if there is one.

    Networks and optimizers of the task must be created in the scope of the current
    `tf.distribute` strategy.

    Args:
      task: the thing to train.
      config: the settings of the loop.
      directory: the run directory, for checkpoints and event files; None writes nothing.
      settings: settings to show in TensorBoard.

    Raises:
      UserError: the batch size is not a multiple of the number of replicas.
    """

    def __init__(
        self,
        task: Task,
        config: LoopConfig,
        directory: Path | None = None,
        settings: Mapping[str, Any] | None = None,
    ) -> None:
        self.task, self.config = task, config
        self.strategy = tf.distribute.get_strategy()
        require_equal_shares(config.batch_size)
        self.checkpoints = Checkpoints(task.checkpoint_items(), directory)
        self.directory, self.settings = directory, settings or {}
        self._scalar_names: list[str] = []

    def is_finished(self, image_count: int) -> bool:
        """Restore the last checkpoint; return true if training on `image_count` images is complete."""
        step = self.checkpoints.restore()
        return step >= self.config.total_steps(image_count) or self.task.should_stop

    def fit(
        self,
        arrays: Mapping[str, np.ndarray | DiskArray],
        validate: Validate | None = None,
    ) -> None:
        """Train until the last step or until the task should stop.

        Args:
          arrays: name -> [N, ...], the training examples.
          validate: called as `LoopConfig.validations` says; returns scalars and image grids to log.

        Raises:
          WorkFailedError: a scalar is not finite, or the disk is full. The last good checkpoint is
            kept.
          PreemptedError: SIGTERM arrived, even after the last step. With a directory, the state is saved.
        """
        image_count = len(next(iter(arrays.values())))
        config, steps_per_call = self.config, self._steps_per_call(arrays)
        total_steps, batch_size = config.total_steps(image_count), config.batch_size
        step = self.checkpoints.restore()
        if step:
            print_line(f"{self.task.name}: resuming from step {step:,} of {total_steps:,}.")
        if step >= total_steps or self.task.should_stop:
            return
        report_slow_precision(config.mixed_precision)
        batches = self.make_iterator(arrays, first_step=step)
        with (
            ProgressBar(self.task.name, total_steps * batch_size, step * batch_size) as progress,
            SummaryWriter(self.directory) as summaries,
            PreemptionHandler() as preemption,
        ):
            if step == 0:
                summaries.write_settings(self.settings)
            while step < total_steps and not self.task.should_stop:
                next_validation = config.next_validation(step, image_count)
                last_step = min(step + steps_per_call, next_validation)
                images = (last_step - step) * batch_size
                scalars = self._run_timed_steps(batches, step, last_step - step)
                step = last_step
                summaries.write_scalars("train", scalars, step)
                progress.advance(images, {k: v for k, v in scalars.items() if "loss" in k})
                if step == total_steps:
                    self.task.finish()
                if validate and step == next_validation:
                    self._validate(validate, summaries, step)
                self._save_or_stop(step, total_steps, preemption)

    def make_iterator(
        self, arrays: Mapping[str, np.ndarray | DiskArray], first_step: int = 0
    ) -> Iterator[Mapping[str, Any]]:
        """Return an endless iterator over shuffled batches, from the batch of step `first_step` on.

        Each batch is distributed: every replica gets its part, name -> tensor
        [batch_size / replicas, ...].
        """
        config = self.config
        return iter(
            self.strategy.distribute_datasets_from_function(
                lambda context: shuffled_batches(
                    arrays, config.batch_size, config.seed, first_step, context
                )
            )
        )

    def run_steps(
        self, batches: Iterator[Mapping[str, Any]], first_step: int, count: int
    ) -> Scalars:
        """Run `count` steps on the next batches and return the mean of each scalar.

        Args:
          batches: from `make_iterator`.
          first_step: the number of the first of these steps, from 0.
          count: the number of steps.

        Raises:
          WorkFailedError: a scalar is not finite.
        """
        items = self.task.checkpoint_items().values()
        networks = [item for item in items if isinstance(item, keras.Layer)]
        frozen = self.task.frozen_networks
        precision = self.config.mixed_precision
        with (
            compute_in(networks, precision),
            infer_fast(frozen, precision),
            use_global_batch(networks, self.strategy.num_replicas_in_sync),
            use_fused_batch_norm(networks),  # Skips layers that the line above replaces.
            use_patch_products(networks),
        ):
            rows = self._loop(
                batches, tf.constant(first_step, tf.int64), tf.constant(count, tf.int64)
            ).numpy()
        not_finite = np.argwhere(~np.isfinite(rows))
        if len(not_finite):
            row, column = not_finite[0]
            raise WorkFailedError(
                f"{self.task.name}: {self._scalar_names[column]} is {rows[row, column]} at step"
                f" {first_step + row:,}. Training stopped; the last good checkpoint is kept. Try a"
                " lower learning rate."
            )
        return dict(zip(self._scalar_names, rows.mean(axis=0).tolist(), strict=True))

    def _steps_per_call(self, arrays: Mapping[str, np.ndarray | DiskArray]) -> int:
        """Return the steps in one call: `steps_per_loop`, or fewer if an example is large.

        Progress is shown after each call.
        """
        values = max(math.prod(array.shape[1:]) for array in arrays.values())
        fitting = _VALUES_PER_CALL // (self.config.batch_size * values)
        return max(1, min(self.config.steps_per_loop, fitting))

    def _run_timed_steps(
        self, batches: Iterator[Mapping[str, Any]], first_step: int, count: int
    ) -> Scalars:
        """Return the result of `run_steps` with the additional scalar `images_per_second`."""
        started = time.monotonic()
        scalars = self.run_steps(batches, first_step, count)
        seconds = time.monotonic() - started
        return {**scalars, "images_per_second": count * self.config.batch_size / seconds}

    @tf.function
    def _loop(self, batches: Any, first_step: tf.Tensor, count: tf.Tensor) -> tf.Tensor:
        """Run `count` steps in one graph; return their scalars, float32 [count, scalars]."""
        # Only this loop needs AutoGraph; without it, the step is traced faster.
        replica_step = tf.autograph.experimental.do_not_convert(self._replica_step)
        rows = tf.TensorArray(tf.float32, size=tf.cast(count, tf.int32), infer_shape=False)
        for i in tf.range(count):
            row = self.strategy.run(replica_step, args=(next(batches), first_step + i))
            total = self.strategy.reduce(tf.distribute.ReduceOp.SUM, row, axis=None)
            rows = rows.write(tf.cast(i, tf.int32), total)
        return rows.stack()

    def _replica_step(self, batch: Mapping[str, tf.Tensor], step: tf.Tensor) -> tf.Tensor:
        """Run one step on one replica; return its scalars, float32 [scalars]."""
        scalars = self.task.train_step(
            batch, Replica(self.config.seed, step, self.config.batch_size)
        )
        self._scalar_names = list(scalars)  # Runs only while tracing; the order never changes.
        return tf.stack([tf.cast(value, tf.float32) for value in scalars.values()])

    def _save_or_stop(self, step: int, total_steps: int, preemption: PreemptionHandler) -> None:
        """Save a checkpoint if it is due, or save and stop if any worker received SIGTERM."""
        finished = step == total_steps or self.task.should_stop
        preempted = multi_worker.any_worker(preemption.requested)
        interval = self.config.checkpoint_seconds
        self.checkpoints.save(step, min_interval=interval, force=finished or preempted)
        if finished:  # No later step would notice a SIGTERM that arrived during the save.
            preempted = multi_worker.any_worker(preemption.requested)
        if preempted:
            at = "after the last step" if finished else f"at step {step:,} of {total_steps:,}"
            saved = " Saved. Run the same command again to resume." if self.directory else ""
            raise PreemptedError(f"{self.task.name}: stopped by SIGTERM {at}.{saved}")

    def _validate(self, validate: Validate, summaries: SummaryWriter, step: int) -> None:
        scalars, grids = validate()
        summaries.write_scalars("validation", scalars, step)
        summaries.write_images("validation", grids, step)
        text = "  ".join(
            f"{name} {value:.3g}" if "loss" in name else f"{name} {value:.1%}"
            for name, value in scalars.items()
        )
        print_line(f"{self.task.name}: step {step:,}: validation {text}")
