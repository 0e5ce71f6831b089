"""Directories and permissions of a command, on which no result depends."""

import contextlib
import dataclasses
from pathlib import Path

from tfdefense.utils.trust import trust_model_files


@dataclasses.dataclass(frozen=True)
class ImagePlace:
    """Place of the images of an existing run; by default that in training.

    Attributes:
      data_dir: where TFDS finds them.
      dataset: the same images as a path, in the form of `--dataset`.
    """

    data_dir: str | None = None
    dataset: str | None = None


@dataclasses.dataclass(frozen=True)
class ExperimentContext:
    """Directories and permissions of one command.

    Attributes:
      data_dir: where TFDS finds prepared datasets; None means `TFDS_DATA_DIR`, then TFDS's default.
      runs_dir: holds run directories, trained classifiers and adversarial images.
      unsafe_load: trust the model files that the command reads, as `--unsafe_load` does: the custom
        classifier, and the classifiers in run directories.
      overwrite: delete what the run directory holds and start afresh.
      max_hours: longest time that the attacks of a report may take, by an estimate before the defence
        is trained; None means any.
    """

    data_dir: str | None = None
    runs_dir: str | Path = "runs"
    unsafe_load: bool = False
    overwrite: bool = False
    max_hours: float | None = None

    def trust(self) -> contextlib.AbstractContextManager[None]:
        """Return a block in which model files are trusted if `unsafe_load` is set."""
        return trust_model_files(trusted=self.unsafe_load)
