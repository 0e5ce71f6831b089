"""Directories and permissions of a command, on which no result depends."""

import dataclasses
from pathlib import Path


@dataclasses.dataclass(frozen=True)
class ExperimentContext:
    """Directories and permissions of one command.

    Attributes:
      data_dir: where TFDS finds prepared datasets; None means `TFDS_DATA_DIR`, then TFDS's default.
      runs_dir: holds run directories, trained classifiers and adversarial images.
      unsafe_load: allow a custom classifier to run its own Python code while it is loaded.
      overwrite: delete what the run directory holds and start afresh.
    """

    data_dir: str | None = None
    runs_dir: str | Path = "runs"
    unsafe_load: bool = False
    overwrite: bool = False
