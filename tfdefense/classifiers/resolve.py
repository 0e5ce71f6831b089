"""Resolution of `--classifier`: a registered network, a trained one, or a custom model."""

import contextlib
import dataclasses
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Protocol

from tfdefense.classifiers.core import cached_training
from tfdefense.classifiers.core.architecture import Architecture
from tfdefense.classifiers.core.frozen_classifier import FrozenClassifier
from tfdefense.classifiers.custom.custom_model import (
    SUFFIXES,
    is_model_directory,
    load_custom_model,
    require_readable_model,
)
from tfdefense.classifiers.custom.description_error import DescriptionError
from tfdefense.classifiers.custom.input_format import InputFormat
from tfdefense.classifiers.custom.output_selection import OutputSelection
from tfdefense.classifiers.registry import CLASSIFIERS
from tfdefense.data.core.dataset import Dataset
from tfdefense.errors import UserError, require, unknown_name
from tfdefense.training.run_directory import RunDirectory
from tfdefense.utils.hashing import hash_path, hash_settings
from tfdefense.utils.real_path import real_path
from tfdefense.utils.trust import trust_model_files
from tfdefense.utils.untrusted_file import require_modest_model


class OpenClassifier(Protocol):
    """Function that opens a classifier, and trains it first if necessary."""

    def __call__(
        self, data: Dataset, runs_dir: str | Path = "runs", seed: int = 0
    ) -> FrozenClassifier:
        """Return the classifier for the images of `data`.

        Args:
          data: the dataset that it is, or has been, trained on.
          runs_dir: directory of run directories.
          seed: seed of the training.

        Raises:
          UserError: it is damaged, or not for such images.
        """


@dataclasses.dataclass(frozen=True)
class ClassifierReference:
    """A classifier that was found but is not open.

    Attributes:
      name: short name for directories and reports.
      settings: the settings that identify it, by the keys of `config.json`: "classifier",
        "classifier_hash", those of `InputFormat` and of `OutputSelection`.
      open: opens it.
      path: its absolute path, if it is a file or a directory.
    """

    name: str
    settings: Mapping[str, Any]
    open: OpenClassifier
    path: Path | None = None

    @property
    def distinct_name(self) -> str:
        """Name for a directory: `name`, plus a hash of the settings if the classifier is from a path."""
        if self.path is None:
            return self.name
        return f"{self.name}-{hash_settings(self.settings)[:8]}"


def choose(
    given: str,
    input_format: InputFormat | None = None,
    outputs: OutputSelection | None = None,
    *,
    unsafe: bool = False,
    flag: str = "classifier",
) -> ClassifierReference:
    """Find a classifier without opening it.

    Args:
      given: a registered architecture, the run directory of a trained classifier, a `.keras` or `.h5`
        file, or the directory of a SavedModel.
      input_format: the range of images that a custom model takes; None means [0, 1].
      outputs: the signature and the output of a custom model; None means the usual ones.
      unsafe: trust a custom model; see `load_custom_model`.
      flag: the flag that named it, for error messages.

    Raises:
      UserError: no such name, file or directory; or an input format or output for a classifier that
        is not a custom model.
    """
    path = Path(given)
    if given in CLASSIFIERS.entries:
        _require_not_custom(f"--{flag}={given}", input_format, outputs)
        return _reference_to_registered(CLASSIFIERS.get(given), flag)
    if RunDirectory(path).exists() and not is_model_directory(path):
        _require_not_custom(f"--{flag}={given}", input_format, outputs)
        return _reference_to_run(RunDirectory(path, flag))
    require_known(given, flag)
    require(path.exists(), f"--{flag}={given}: no such file or directory.")
    require(
        path.is_dir() or path.suffix in SUFFIXES,
        f"--{flag}={given}: {', '.join(SUFFIXES)}, a SavedModel directory or a run directory needed.",
    )
    with trust_model_files(trusted=unsafe):
        require_readable_model(path, f"--{flag}={given}")
    return _reference_to_custom(path, input_format, outputs, unsafe=unsafe, flag=flag)


def require_known(given: str, flag: str = "classifier") -> None:
    """Raise `UserError` for a word that is neither a registered classifier nor a path."""
    path = Path(given)
    if not (
        given in CLASSIFIERS.entries or path.exists() or path.suffix in SUFFIXES or "/" in given
    ):
        raise unknown_name(flag, given, CLASSIFIERS.entries)


def _reference_to_registered(architecture: Architecture, flag: str) -> ClassifierReference:
    def open_registered(
        data: Dataset, runs_dir: str | Path = "runs", seed: int = 0
    ) -> FrozenClassifier:
        with _naming_flag(flag, architecture.name):
            return cached_training.load_or_train(architecture, data, runs_dir, seed)

    return ClassifierReference(
        architecture.name, {"classifier": architecture.name}, open_registered
    )


def _reference_to_run(run: RunDirectory) -> ClassifierReference:
    name = run.require_kind("classifier").setting("classifier", str)
    require(
        run.classifier_path.is_file(),
        f"{run}: its training is not finished. Resume it with: bin/train --run={run.path}",
    )
    require_modest_model(run.classifier_path, str(run.classifier_path))
    settings = {"classifier": name, "classifier_hash": hash_path(run.classifier_path)}

    def open_run(data: Dataset, runs_dir: str | Path = "runs", seed: int = 0) -> FrozenClassifier:
        del runs_dir, seed
        cached_training.require_matching_run(run, data)
        return FrozenClassifier(run.load_classifier(), data.image_shape, data.num_classes)

    return ClassifierReference(name, settings, open_run, real_path(run.path))


def _reference_to_custom(
    path: Path,
    input_format: InputFormat | None,
    outputs: OutputSelection | None,
    *,
    unsafe: bool,
    flag: str,
) -> ClassifierReference:
    settings = {
        "classifier": real_path(path).name,
        "classifier_hash": hash_path(path),
        **(input_format.settings() if input_format else {}),
        **(outputs.settings() if outputs else {}),
    }

    def open_custom(
        data: Dataset, runs_dir: str | Path = "runs", seed: int = 0
    ) -> FrozenClassifier:
        del runs_dir, seed
        with _naming_flag(flag, str(path)):
            return load_custom_model(path, data, input_format, outputs, unsafe=unsafe)

    name = re.sub(r"[^\w.-]+", "_", real_path(path).stem)
    return ClassifierReference(name, settings, open_custom, real_path(path))


@contextlib.contextmanager
def _naming_flag(flag: str, given: str) -> Iterator[None]:
    """Name `flag` in errors that begin with `--classifier=given`, as those of all loaders do.

    Flags such as `--input_range` describe only the model of `--classifier`, so no other error names
    them.
    """
    usual = f"--classifier={given}"
    try:
        yield
    except UserError as error:
        if flag == "classifier" or not str(error).startswith(usual):
            raise
        text = error.text_without_flags if isinstance(error, DescriptionError) else str(error)
        raise UserError(f"--{flag}={given}{text.removeprefix(usual)}") from error


def _require_not_custom(
    place: str, input_format: InputFormat | None, outputs: OutputSelection | None
) -> None:
    """Raise `UserError` if an option of custom models is given with another classifier."""
    settings = outputs.settings() if outputs else {}
    require(
        input_format is None and not settings,
        f"{place}: takes images in [0, 1] and gives logits; --input_range, --input_mean,"
        " --input_std, --input_preset, --signature and --output_name are for custom models.",
    )
