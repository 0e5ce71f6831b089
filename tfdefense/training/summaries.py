"""TensorBoard event files of a run."""

import contextlib
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from tfdefense.errors import WorkFailed, reason_of
from tfdefense.utils import cluster


class Summaries:
    """Writes scalars, image grids and the settings; does nothing without a directory.

    Args:
      directory: the run directory; event files go to its `events/`.

    Raises:
      WorkFailed: the disk is full or not writable; here, or with whatever is written later.
    """

    def __init__(self, directory: Path | None) -> None:
        self._writer = None
        if directory is not None and cluster.is_chief():
            self._place = Path(directory) / "events"
            with _writing():
                self._writer = tf.summary.create_file_writer(str(self._place))
            self._bytes = self._written()

    def scalars(self, group: str, values: Mapping[str, float], step: int) -> None:
        """One point on the curve `group/name` for each of `values`."""
        if self._writer is None or not values:
            return
        with _writing(), self._writer.as_default(step=step):
            for name, value in values.items():
                tf.summary.scalar(f"{group}/{name}", value)
        self._require_written()

    def images(self, group: str, grids: Mapping[str, np.ndarray], step: int) -> None:
        """Pictures float32 [H, W, C] in [0, 1], C 1 or 3."""
        if self._writer is None or not grids:
            return
        with _writing(), self._writer.as_default(step=step):
            for name, grid in grids.items():
                tf.summary.image(f"{group}/{name}", grid[np.newaxis])
        self._require_written()

    def settings(self, settings: Mapping[str, Any]) -> None:
        """The settings as text, and as hyperparameters for TensorBoard's HParams page."""
        if self._writer is None or not settings:
            return
        from tensorboard.plugins.hparams import api as hparams

        with _writing(), self._writer.as_default(step=0):
            text = json.dumps(settings, indent=2, default=str)
            tf.summary.text("config", "\n".join(f"    {line}" for line in text.splitlines()))
            plain = (bool, int, float, str)
            hparams.hparams({k: v if isinstance(v, plain) else str(v) for k, v in settings.items()})

    def _require_written(self) -> None:
        """TensorFlow drops without a word what a full disk does not take."""
        self._writer.flush()
        written = self._written()
        if written <= self._bytes:
            raise WorkFailed(f"{self._place}: event file not written: No space left on device.")
        self._bytes = written

    def _written(self) -> int:
        return sum(path.stat().st_size for path in self._place.glob("*tfevents*"))

    def __enter__(self) -> "Summaries":
        return self

    def __exit__(self, *_: object) -> None:
        if self._writer is not None:
            with _writing():
                self._writer.close()


@contextlib.contextmanager
def _writing() -> Iterator[None]:
    try:
        yield
    except (tf.errors.OpError, OSError) as error:
        raise WorkFailed(f"event file not written: {reason_of(error)}.") from error


def image_grid(rows: list[np.ndarray]) -> np.ndarray:
    """Pictures under each other: rows of [N, H, W, C] -> [len(rows) * H, N * W, C]."""
    return np.concatenate([np.concatenate(list(np.asarray(row)), axis=1) for row in rows], axis=0)
