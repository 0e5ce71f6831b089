"""What `--classifier` names: a network to train, a trained one, or anybody's own model."""

import dataclasses
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from tfdefense.classifiers.core import cached_training
from tfdefense.classifiers.core.architecture import Architecture
from tfdefense.classifiers.core.frozen_classifier import FrozenClassifier
from tfdefense.classifiers.custom import custom_model
from tfdefense.classifiers.custom.input_format import InputFormat
from tfdefense.data.core.dataset import Dataset
from tfdefense.errors import UserError, require, unknown_name
from tfdefense.training.run_directory import RunDirectory
from tfdefense.utils.hashing import hash_path
from tfdefense.utils.registry import Registry

CLASSIFIER_SETTINGS = ("classifier", "classifier_hash", "input_range", "input_mean", "input_std")


@dataclasses.dataclass(frozen=True)
class ClassifierReference:
    """A classifier that was named but not yet opened.

    Attributes:
      name: short, for directories and reports.
      settings: what tells it from others, by the names in `SETTINGS`.
      open: (data, runs_dir, seed) -> the classifier, trained first where it must be.
      path: where it was found, if it is a file or directory.
    """

    name: str
    settings: Mapping[str, Any]
    open: Callable[[Dataset, str | Path, int], FrozenClassifier]
    path: Path | None = None


def choose(
    registry: Registry,
    given: str,
    input_format: InputFormat | None = None,
    unsafe: bool = False,
    flag: str = "classifier",
) -> ClassifierReference:
    """Finds what `given` names, without opening it.

    Args:
      registry: of architectures.
      given: a name in it, the run directory of a trained one, a `.keras` or `.h5` file, or the directory
        of a SavedModel.
      input_format: what a model of one's own wants of images; None means [0, 1].
      unsafe: whether a model of one's own may run its own Python while it is read.
      flag: by which the user named it, for error messages.

    Raises:
      UserError: there is no such name, file or directory, or an input format for one of ours.
    """
    path = Path(given)
    if given in registry.entries:
        _no_format(given, input_format)
        return _registered(registry.get(given))
    if RunDirectory(path).exists():
        _no_format(given, input_format)
        return _from_run(RunDirectory(path, flag))
    if not (path.exists() or path.suffix in custom_model.SUFFIXES or "/" in given):
        raise unknown_name(flag, given, registry.entries)
    require(path.exists(), f"--{flag}={given}: no such file or directory.")
    require(
        path.is_dir() or path.suffix in custom_model.SUFFIXES,
        f"--{flag}={given}: {', '.join(custom_model.SUFFIXES)}, a SavedModel directory or a run directory"
        " needed.",
    )
    settings = {
        "classifier": path.resolve().name,
        "classifier_hash": hash_path(path),
        **(input_format.settings() if input_format else {}),
    }
    return ClassifierReference(
        re.sub(r"[^\w.-]+", "_", path.resolve().stem),
        settings,
        lambda data, runs_dir, seed: custom_model.load_custom_model(path, data, input_format, unsafe),
        path.resolve(),
    )


def _registered(architecture: Architecture) -> ClassifierReference:
    return ClassifierReference(
        architecture.name,
        {"classifier": architecture.name},
        lambda data, runs_dir, seed: cached_training.load_or_train(architecture, data, runs_dir, seed),
    )


def _from_run(run: RunDirectory) -> ClassifierReference:
    settings = run.require_kind("classifier").settings
    require(
        run.classifier_path.is_file(),
        f"--{run.flag}={run.path}: its training is not finished. Go on with: bin/train --run={run.path}",
    )
    chosen = {
        "classifier": settings["classifier"],
        "classifier_hash": hash_path(run.classifier_path),
    }

    def opened(data: Dataset, runs_dir: str | Path, seed: int) -> FrozenClassifier:
        del runs_dir, seed
        cached_training.require_matching_run(run, data)
        return FrozenClassifier(run.load_classifier(), data.image_shape, data.num_classes)

    return ClassifierReference(settings["classifier"], chosen, opened, run.path.resolve())


def _no_format(given: str, input_format: InputFormat | None) -> None:
    if input_format is not None:
        raise UserError(
            f"--classifier={given}: takes images in [0, 1]; --input_range, --input_mean and --input_std are"
            " for a model of your own."
        )
