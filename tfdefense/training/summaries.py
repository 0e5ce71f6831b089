"""TensorBoard event files of a run."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from tfdefense import workers


class Summaries:
    """Writes scalars, image grids and the settings; does nothing without a directory.

    Args:
      directory: the run directory; event files go to its `events/`.
    """

    def __init__(self, directory: Path | None) -> None:
        self._writer = None
        if directory is not None and workers.is_chief():
            self._writer = tf.summary.create_file_writer(str(Path(directory) / "events"))

    def scalars(self, group: str, values: Mapping[str, float], step: int) -> None:
        """One point on the curve `group/name` for each of `values`."""
        if self._writer is None:
            return
        with self._writer.as_default(step=step):
            for name, value in values.items():
                tf.summary.scalar(f"{group}/{name}", value)

    def images(self, group: str, grids: Mapping[str, np.ndarray], step: int) -> None:
        """Pictures float32 [H, W, C] in [0, 1], C 1 or 3."""
        if self._writer is None:
            return
        with self._writer.as_default(step=step):
            for name, grid in grids.items():
                tf.summary.image(f"{group}/{name}", grid[np.newaxis])

    def settings(self, settings: Mapping[str, Any]) -> None:
        """The settings as text, and as hyperparameters for TensorBoard's HParams page."""
        if self._writer is None or not settings:
            return
        from tensorboard.plugins.hparams import api as hparams

        with self._writer.as_default(step=0):
            text = json.dumps(settings, indent=2, default=str)
            tf.summary.text("config", "\n".join(f"    {line}" for line in text.splitlines()))
            plain = (bool, int, float, str)
            hparams.hparams({k: v if isinstance(v, plain) else str(v) for k, v in settings.items()})

    def __enter__(self) -> "Summaries":
        return self

    def __exit__(self, *_: object) -> None:
        if self._writer is not None:
            self._writer.close()


def image_grid(rows: list[np.ndarray]) -> np.ndarray:
    """Pictures under each other: rows of [N, H, W, C] -> [len(rows) * H, N * W, C]."""
    return np.concatenate([np.concatenate(list(np.asarray(row)), axis=1) for row in rows], axis=0)
