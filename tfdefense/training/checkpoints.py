"""Checkpoints of a run: saved now and then, restored before anything else."""

import shutil
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from tfdefense.errors import UserError, WorkFailed, reason_of, require
from tfdefense.training.distribute import multi_worker
from tfdefense.utils import cluster
from tfdefense.utils.progress import say


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
        # Made now, by all workers together, and not with the first checkpoint, which only the chief writes.
        _ = self._checkpoint.save_counter
        self._manager = None
        self._saved_at = time.monotonic()
        if directory is not None:
            place = Path(directory) / "checkpoints"
            arguments = self._checkpoint, str(place), keep
            try:
                self._manager = tf.train.CheckpointManager(*arguments)
            except ValueError:  # The list of checkpoints is damaged; it can be done without.
                (place / "checkpoint").unlink()
                self._manager = tf.train.CheckpointManager(*arguments)

    def restore(self) -> int:
        """Brings back the newest checkpoint; returns its step, or 0 where there is none.

        One that is damaged is put aside, and the one before it taken.

        Raises:
          UserError: all of them are damaged, or of other networks; or workers do not see the same.
        """
        multi_worker.wait_for_all()  # Until the last one to come, nothing is written or put aside.
        step = self._restore()
        steps = multi_worker.gathered(np.array([step])).tolist()
        require(
            len(set(steps)) == 1,
            f"{self._manager and self._manager.directory}: the workers found checkpoints of steps {steps}. All need"
            " one run directory, on a file system that they share.",
        )
        return step

    def _restore(self) -> int:
        newest_first = self._on_disk()
        if not newest_first:
            return 0
        failures: list[str] = []
        for path in newest_first:
            try:
                status = self._checkpoint.restore(str(path)).expect_partial()
                status.assert_existing_objects_matched()
            except (AssertionError, ValueError, IndexError, tf.errors.OpError) as error:
                failures.append(str(error).splitlines()[0])
                continue
            for damaged in newest_first[: len(failures)] if cluster.is_chief() else ():
                say(f"{damaged}: damaged, so {path.name} takes its place.")
                _put_aside(damaged)
            self._resumed_at = time.monotonic()
            return int(self._step.numpy())
        raise UserError(
            f"{newest_first[0]}: cannot be restored (damaged, or of other networks): {failures[0]}"
            " Remove it, or start afresh with --overwrite."
        )

    @property
    def seconds(self) -> float:
        """Seconds spent up to the last checkpoint, over all interruptions."""
        return float(self._seconds.numpy())

    def _on_disk(self) -> list[Path]:
        """The checkpoints, newest first; by their files, for the list that TensorFlow keeps of them may be lost."""
        if self._manager is None:
            return []
        directory = Path(self._manager.directory)
        found = (path.with_suffix("") for path in directory.glob("ckpt-*.index"))
        return sorted(found, key=lambda path: int(path.name.removeprefix("ckpt-")), reverse=True)

    def save(self, step: int, every: float = 0.0, force: bool = False) -> None:
        """Saves at `step`, unless the last one is younger than `every` seconds and not `force`.

        Raises:
          WorkFailed: the disk is full or not writable.
        """
        due = force or time.monotonic() - self._saved_at >= every
        if self._manager is None or not due or not cluster.is_chief():
            return
        self._step.assign(step)
        now = time.monotonic()
        self._seconds.assign_add(now - self._resumed_at)
        self._resumed_at = now
        self._remove_halves()
        try:
            self._manager.save(checkpoint_number=step)
        except (tf.errors.OpError, OSError) as error:
            self._remove_halves()
            raise WorkFailed(
                f"{self._manager.directory}: checkpoint at step {step:,} not written: {reason_of(error)}. The one before is kept,"
                " and the same command goes on from it."
            ) from error
        self._saved_at = time.monotonic()

    def _remove_halves(self) -> None:
        """What was being written when the disk was full or the process killed."""
        for half in Path(self._manager.directory).glob("ckpt-*_temp"):
            shutil.rmtree(half, ignore_errors=True)


def _put_aside(path: Path) -> None:
    for part in path.parent.glob(f"{path.name}.*"):
        part.rename(part.with_name(f"damaged-{part.name}"))


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
