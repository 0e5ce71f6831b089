"""Checkpoints of a run: saved now and then, restored before anything else."""

import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import tensorflow as tf

from tfdefense.errors import UserError, WorkFailed


class Checkpoints:
    """Saves and restores named trackables and the step that they belong to.

    Args:
      items: name -> Keras model or optimizer, built, or `tf.Variable`, or
        anything else with `variables`.
      directory: the run directory; None saves nothing.
      keep: how many checkpoints to keep.
    """

    def __init__(self, items: Mapping[str, Any], directory: Path | None, keep: int = 2) -> None:
        self._step = tf.Variable(0, dtype=tf.int64, trainable=False, name="step")
        self._seconds = tf.Variable(0.0, dtype=tf.float64, trainable=False, name="seconds")
        self._resumed_at = time.monotonic()
        lists = {name: _variables(item) for name, item in items.items()}
        self._checkpoint = tf.train.Checkpoint(step=self._step, seconds=self._seconds, **lists)
        self._manager = None
        self._saved_at = time.monotonic()
        if directory is not None:
            self._manager = tf.train.CheckpointManager(
                self._checkpoint, str(Path(directory) / "checkpoints"), max_to_keep=keep
            )

    def restore(self) -> int:
        """Brings back the newest checkpoint; returns its step, or 0 where there is none.

        Raises:
          UserError: the checkpoint is damaged or of other networks.
        """
        if self._manager is None or not self._manager.latest_checkpoint:
            return 0
        newest = self._manager.latest_checkpoint
        try:
            status = self._checkpoint.restore(newest).expect_partial()
            status.assert_existing_objects_matched()
        except (AssertionError, ValueError, IndexError, tf.errors.OpError) as error:
            raise UserError(
                f"{newest}: cannot be restored (damaged, or of other networks):"
                f" {str(error).splitlines()[0]} Remove it, or start afresh with --overwrite."
            ) from error
        self._resumed_at = time.monotonic()
        return int(self._step.numpy())

    @property
    def seconds(self) -> float:
        """Seconds spent up to the last checkpoint, over all interruptions."""
        return float(self._seconds.numpy())

    def save(self, step: int, every: float = 0.0, force: bool = False) -> None:
        """Saves at `step`, unless the last one is younger than `every` seconds and not `force`.

        Raises:
          WorkFailed: the disk is full or not writable.
        """
        if self._manager is None or not (force or time.monotonic() - self._saved_at >= every):
            return
        self._step.assign(step)
        now = time.monotonic()
        self._seconds.assign_add(now - self._resumed_at)
        self._resumed_at = now
        try:
            self._manager.save(checkpoint_number=step)
        except (tf.errors.OpError, OSError) as error:
            raise WorkFailed(f"checkpoint at step {step:,} not written: {error}") from error
        self._saved_at = time.monotonic()


def _variables(item: Any) -> Any:
    """All variables of a Keras model or optimizer, in its own order.

    Handed to TensorFlow as it is, a Keras 3 model loses without a word the layers that it keeps in
    lists: TensorFlow's tracking does not see into them.
    """
    if isinstance(item, tf.Variable):
        return item
    return [
        variable if isinstance(variable, tf.Variable) else variable.value
        for variable in item.variables
    ]
