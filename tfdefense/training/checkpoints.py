"""Checkpoints of a training run."""

import contextlib
import shutil
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from tfdefense.errors import UserError, WorkFailedError, require, short_reason
from tfdefense.training.distribute import multi_worker
from tfdefense.training.nested_layers import finalize_states
from tfdefense.utils import cluster
from tfdefense.utils.computer_failures import COMPUTER_FAILURES
from tfdefense.utils.progress import print_line
from tfdefense.utils.real_path import real_path
from tfdefense.utils.tensorflow_path import require_tensorflow_path
from tfdefense.utils.untrusted_file import require_regular_file

_DIRECTORY = "checkpoints"  # In the run directory.


class Checkpoints:
    """Checkpoints of named objects, with the training step and the time spent.

    Only the chief writes. All workers read.

    Args:
      items: name -> `tf.Variable`, or an object with `variables`: a built Keras model, a built
        optimizer, `BestWeights`.
      directory: the run directory; files go to its `checkpoints/`. None saves nothing.
      keep: the number of checkpoints to keep.

    Raises:
      UserError: the name of the directory is not UTF-8.
    """

    def __init__(self, items: Mapping[str, Any], directory: Path | None, keep: int = 2) -> None:
        self._step = tf.Variable(0, dtype=tf.int64, trainable=False, name="step")
        self._seconds = tf.Variable(0.0, dtype=tf.float64, trainable=False, name="seconds")
        self._resumed_at = time.monotonic()
        lists = {name: _variables(item) for name, item in items.items()}
        self._checkpoint = tf.train.Checkpoint(step=self._step, seconds=self._seconds, **lists)
        self._networks = [item for item in items.values() if isinstance(item, keras.Layer)]
        # Not `tf.train.CheckpointManager`: it deletes whatever files its list names, anywhere.
        self._directory = None if directory is None else Path(directory) / _DIRECTORY
        if self._directory is not None:
            require_tensorflow_path(self._directory)
        self._keep = keep
        self._saved_at = time.monotonic()

    def restore(self) -> int:
        """Restore the newest checkpoint and return its step; return 0 if there is none.

        A damaged checkpoint is renamed to `damaged-*`, and the one before it is restored.

        Raises:
          UserError: all checkpoints are damaged or of other networks, a file is a FIFO, a device or
            a link to another place, or the workers found different checkpoints.
        """
        newest_first = self._list_newest_first()
        # No worker may write or rename before all workers have listed the checkpoints.
        multi_worker.wait_for_workers()
        step = self._restore_newest(newest_first)
        steps = multi_worker.gather_arrays(np.array([step])).tolist()
        require(
            len(set(steps)) == 1,
            f"{self._directory}: the workers found checkpoints of steps"
            f" {steps}. All workers need the same run directory, on a shared file system.",
        )
        return step

    def _restore_newest(self, newest_first: list[Path]) -> int:
        if not newest_first:
            return 0
        failures: list[str] = []
        for path in newest_first:
            try:
                status = self._checkpoint.read(str(path)).expect_partial()
                status.assert_existing_objects_matched()
            except COMPUTER_FAILURES:
                raise
            except (AssertionError, ValueError, IndexError, tf.errors.OpError) as error:
                failures.append(str(error).splitlines()[0])
                continue
            for damaged in newest_first[: len(failures)] if cluster.is_chief() else ():
                print_line(f"{damaged}: damaged, renamed to damaged-*. Using {path.name} instead.")
                _rename_damaged(damaged)
            finalize_states(self._networks)
            self._resumed_at = time.monotonic()
            return int(self._step.numpy())
        raise UserError(
            f"{newest_first[0]}: cannot be restored (damaged, or of other networks): {failures[0]}"
            " Copy the run directory again, or train it again with bin/train and --overwrite."
        )

    @property
    def step(self) -> int:
        """Step of the checkpoint that was restored or, on the chief, saved last; 0 before."""
        return int(self._step.numpy())

    @property
    def seconds(self) -> float:
        """Seconds of training up to the last checkpoint, without the interruptions."""
        return float(self._seconds.numpy())

    def _list_newest_first(self) -> list[Path]:
        if self._directory is None or not self._directory.is_dir():
            return []
        _require_own_files(self._directory)
        found = _find_checkpoints(self._directory)
        return [found[step] for step in sorted(found, reverse=True)]

    def save(self, step: int, *, min_interval: float = 0.0, force: bool = False) -> None:
        """Save a checkpoint of `step`.

        Args:
          step: the number of finished training steps.
          min_interval: seconds since the last checkpoint below which nothing is saved.
          force: save in any case.

        Raises:
          WorkFailedError: the disk is full or not writable.
        """
        due = force or time.monotonic() - self._saved_at >= min_interval
        if self._directory is None or not due or not cluster.is_chief():
            return
        self._step.assign(step)
        now = time.monotonic()
        self._seconds.assign_add(now - self._resumed_at)
        self._resumed_at = now
        directory = self._directory
        _delete_unfinished(directory)
        try:
            directory.mkdir(parents=True, exist_ok=True)
            self._checkpoint.write(str(directory / f"ckpt-{step}"))
        except (tf.errors.OpError, OSError) as error:
            _delete_unfinished(directory)
            raise WorkFailedError(
                f"{directory}: checkpoint at step {step:,} not written: {short_reason(error)}. The"
                " previous checkpoint is kept. Run the same command again to resume from it."
            ) from error
        self._saved_at = time.monotonic()
        _delete_old(directory, self._keep)


def _require_own_files(directory: Path) -> None:
    """Raise `UserError` if a checkpoint's file is a link to another place, a FIFO or a device."""
    for path in directory.glob("ckpt-*.*"):
        require(
            real_path(path).is_relative_to(real_path(directory)),
            f"{path}: a link to another place. Remove it.",
        )
        if path.exists():  # Its training may have deleted it meanwhile.
            require_regular_file(path, str(path))


def has_checkpoint(run: Path) -> bool:
    """Return whether a run directory holds a checkpoint."""
    return bool(_find_checkpoints(run / _DIRECTORY))


def _find_checkpoints(directory: Path) -> dict[int, Path]:
    """Return step -> checkpoint, without suffix."""
    return {
        step: path.with_suffix("")
        for path in directory.glob("ckpt-*.index")
        if (step := _step(path)) is not None
    }


def _step(index: Path) -> int | None:
    """Return the step in a name such as ckpt-12.index; None for a name that was not written here."""
    digits = index.stem.removeprefix("ckpt-")
    is_step = digits.isascii() and digits.isdecimal() and len(digits) < 19
    return int(digits) if is_step else None


def _delete_unfinished(directory: Path) -> None:
    """Delete checkpoints whose writing was stopped by a full disk or a kill."""
    for unfinished in directory.glob("ckpt-*_temp"):
        shutil.rmtree(unfinished, ignore_errors=True)


def _delete_old(directory: Path, keep: int) -> None:
    """Delete all checkpoints but the newest `keep`, and the list of them by older versions."""
    found = _find_checkpoints(directory)
    old = [part for step in sorted(found)[:-keep] for part in directory.glob(f"ckpt-{step}.*")]
    for path in (directory / "checkpoint", *old):
        with contextlib.suppress(OSError):  # It may stay.
            path.unlink()


def _rename_damaged(path: Path) -> None:
    for part in path.parent.glob(f"{path.name}.*"):
        part.rename(part.with_name(f"damaged-{part.name}"))


def _variables(item: Any) -> Any:
    """Return the variables of an item in its own order.

    TensorFlow's tracking does not see Keras 3 layers that a model keeps in a list, and saves a
    model without them and without an error. A list of all variables avoids that.
    """
    if isinstance(item, tf.Variable):
        return item
    return [
        variable if isinstance(variable, tf.Variable) else variable.value
        for variable in item.variables
    ]
