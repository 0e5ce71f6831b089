"""TensorBoard event files of a training run."""

import contextlib
import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from tfdefense.errors import WorkFailedError, short_reason
from tfdefense.utils import cluster
from tfdefense.utils.tensorflow_path import require_tensorflow_path
from tfdefense.utils.visible_text import visible_text

GRID_IMAGES = 8  # In a row of a grid of validation images.


class SummaryWriter:
    """Writer of scalars, image grids and settings for TensorBoard.

    Args:
      directory: the run directory; event files go to its `events/`. None writes nothing. With
        several workers only the chief writes.

    Raises:
      WorkFailedError: the disk is full or not writable. Every method raises it too.
      UserError: the name of the directory is not UTF-8.
    """

    def __init__(self, directory: Path | None) -> None:
        self._writer: Any = None
        if directory is not None and cluster.is_chief():
            self._directory = Path(directory) / "events"
            require_tensorflow_path(self._directory)
            with _failures_as_errors():
                self._writer = tf.summary.create_file_writer(str(self._directory))
            self._bytes = self._written_bytes()

    def write_scalars(self, group: str, values: Mapping[str, float], step: int) -> None:
        """Write one point of the curve `group/name` for each of `values`."""
        if self._writer is None or not values:
            return
        with _failures_as_errors(), self._writer.as_default(step=step):
            for name, value in values.items():
                tf.summary.scalar(f"{group}/{name}", value)
        self._require_written()

    def write_images(self, group: str, grids: Mapping[str, np.ndarray], step: int) -> None:
        """Write pictures, float32 [H, W, C] in [0, 1], C is 1 or 3."""
        if self._writer is None or not grids:
            return
        with _failures_as_errors(), self._writer.as_default(step=step):
            for name, grid in grids.items():
                tf.summary.image(f"{group}/{name}", grid[np.newaxis])
        self._require_written()

    def write_settings(self, settings: Mapping[str, Any]) -> None:
        """Write the settings as text, and as hyperparameters for TensorBoard's HParams page."""
        if self._writer is None or not settings:
            return
        from tensorboard.plugins.hparams import api as hparams

        with _failures_as_errors(), self._writer.as_default(step=0):
            text = json.dumps(settings, indent=2, default=str)
            tf.summary.text("config", "\n".join(f"    {line}" for line in text.splitlines()))
            hparams.hparams({name: _as_hyperparameter(each) for name, each in settings.items()})

    def _require_written(self) -> None:
        """Raise an error if the files have not grown: TensorFlow ignores a full disk."""
        self._writer.flush()
        written = self._written_bytes()
        if written <= self._bytes:
            raise WorkFailedError(
                f"{self._directory}: event file not written: No space left on device."
            )
        self._bytes = written

    def _written_bytes(self) -> int:
        return sum(path.stat().st_size for path in self._directory.glob("*tfevents*"))

    def __enter__(self) -> "SummaryWriter":
        return self

    def __exit__(self, *_: object) -> None:
        if self._writer is not None:
            with _failures_as_errors():
                self._writer.close()


def _as_hyperparameter(value: Any) -> bool | int | float | str:
    """Return a value as TensorBoard stores it: text is UTF-8 there, which a path need not be."""
    return value if isinstance(value, bool | int | float) else visible_text(str(value))


@contextlib.contextmanager
def _failures_as_errors() -> Iterator[None]:
    try:
        yield
    except (tf.errors.OpError, OSError) as error:
        raise WorkFailedError(f"event file not written: {short_reason(error)}.") from error


def image_grid(rows: Sequence[np.ndarray]) -> np.ndarray:
    """Return rows of images, each [N, H, W, C], as one picture [len(rows) * H, N * W, C]."""
    return np.concatenate([np.concatenate(list(np.asarray(row)), axis=1) for row in rows], axis=0)
