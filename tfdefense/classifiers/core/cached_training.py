"""Registered classifiers in run directories: trained once, then loaded."""

import json
import math
import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import keras
import numpy as np

from tfdefense.classifiers.core.architecture import Architecture
from tfdefense.classifiers.core.classifier_config import ClassifierConfig
from tfdefense.classifiers.core.classifier_training import ClassifierTraining
from tfdefense.classifiers.core.frozen_classifier import FrozenClassifier
from tfdefense.classifiers.core.inference import compile_inference, find_correct
from tfdefense.data.core.dataset import DATA_SETTINGS, Dataset
from tfdefense.data.core.fingerprint import sampled_fingerprint
from tfdefense.errors import UserError, require
from tfdefense.training.distribute import multi_worker
from tfdefense.training.mixed_precision import AUTO
from tfdefense.training.run_directory import RunDirectory
from tfdefense.training.stored_config import StoredConfig
from tfdefense.utils.atomic_write import write_text_file
from tfdefense.utils.progress import print_line
from tfdefense.utils.statistics import wilson_interval
from tfdefense.utils.untrusted_file import read_json_file

_SCHEMA = 1


def locate_run(
    architecture: Architecture, data: Dataset, runs_dir: str | Path = "runs"
) -> RunDirectory:
    """Return the run directory of the classifier for `data`: `<runs_dir>/<dataset>-<name>`."""
    return RunDirectory(Path(runs_dir) / f"{data.name}-{architecture.name}")


def train_classifier(
    training: ClassifierTraining, run: RunDirectory, *, overwrite: bool = False
) -> FrozenClassifier:
    """Train a classifier into a run directory, or resume its training there.

    Writes `classifier.keras` and, from all test images, once, after the training, `summary.json`.

    Args:
      training: network, data, seed and settings.
      run: the run directory.
      overwrite: delete an existing run first.

    Raises:
      UserError: a directory that is not a run of a classifier, or one with other settings.
      WorkFailedError: the loss is no longer finite, or a file cannot be written.
    """
    data = training.data
    settings = {
        **data.settings(),
        "classifier": training.architecture.name,
        **training.settings(),
    }
    run.create_or_reuse(_new_config(data, settings), overwrite=overwrite)
    if not run.has_classifier():
        print_line(f"Training the classifier {training.name} into {run.path}.")
        training.fit(run.path)
        _save_summary(training, run)
        run.save_classifier(training.model)
    summary = read_summary(run)
    if summary is not None:
        print_line(format_summary(summary))
    return _load_frozen(run, data)


def load_or_train(
    architecture: Architecture, data: Dataset, runs_dir: str | Path = "runs", seed: int = 0
) -> FrozenClassifier:
    """Load the classifier in `locate_run(...)`. If there is none, train it by its recipe.

    An unfinished training is resumed with the seed and settings in its run directory.

    Raises:
      UserError: the run directory holds something else, or a classifier of other images.
      WorkFailedError: see `train_classifier`.
    """
    run = locate_run(architecture, data, runs_dir)
    if multi_worker.any_worker(not run.exists()):
        config = ClassifierConfig(mixed_precision=AUTO)
        return train_classifier(ClassifierTraining(architecture, data, seed, config), run)
    require_matching_run(run, data)
    if run.has_classifier():
        return _load_frozen(run, data)
    stored = run.require_kind("classifier")
    seed, config = stored.setting("seed", int), stored.read_dataclass(ClassifierConfig)
    return train_classifier(ClassifierTraining(architecture, data, seed, config), run)


def require_matching_run(run: RunDirectory, data: Dataset) -> None:
    """Require that a run is one of a classifier of these images.

    Raises:
      UserError: it is another kind of run, or a classifier of other images than `data`.
    """
    stored = run.require_kind("classifier")
    config = _new_config(data, data.settings())
    require(
        not stored.differences(config, DATA_SETTINGS),
        f"{run}: is a classifier of {' '.join(_data_flags(stored.settings))}; one of"
        f" {' '.join(_data_flags(data.settings()))} needed.",
    )
    flags = [f"--classifier={stored.settings.get('classifier')}", *_data_flags(data.settings())]
    flags += [f"--data_dir={data.data_dir}"] if data.data_dir else []
    command = shlex.join(["bin/train", *flags, f"--run={run.path}", "--overwrite"])
    remedy = f"Train it again, with the other flags of its training if it had any: {command}"
    stored.require_same_images(config, str(run), remedy)


def _new_config(data: Dataset, settings: Mapping[str, Any]) -> StoredConfig:
    """Return the content of `config.json` for a classifier of these images."""
    images = sampled_fingerprint(data.train)
    return StoredConfig("classifier", settings, {"data_dir": data.data_dir, "images": images})


def _data_flags(settings: Mapping[str, Any]) -> list[str]:
    """Return the flags that name the images of these settings."""
    formats = {"image_size": lambda size: "x".join(map(str, size))}
    given = {name: settings[name] for name in DATA_SETTINGS if name in settings}
    return [f"--{name}={formats.get(name, str)(value)}" for name, value in given.items()]


def read_summary(run: RunDirectory) -> dict[str, Any] | None:
    """Read `summary.json`, which `train_classifier` wrote; return None if it is missing.

    Raises:
      UserError: it is damaged.
    """
    path = run.path / "summary.json"
    if not path.is_file():
        return None
    try:
        summary = dict(read_json_file(path))
        format_summary(summary)
    except UserError:
        raise
    except Exception as error:  # Another type for each kind of damage.
        raise UserError(f"{path}: damaged. Delete it, and train again with --overwrite.") from error
    return summary


def format_summary(summary: Mapping[str, Any]) -> str:
    """Format the content of `summary.json` as one line of text."""
    note = f" {summary['note']}" if summary["note"] else ""
    return (
        f"{summary['classifier']} on {summary['dataset']}: {summary['parameters']:,} parameters,"
        f" test accuracy {summary['accuracy']:.2%}"
        f" [{summary['ci_low']:.2%}, {summary['ci_high']:.2%}], n = {summary['n']:,},"
        f" trained in {_format_duration(summary['seconds'])}.{note}"
    )


def _format_duration(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds < 100 else f"{seconds / 60:.1f} min"


def count_parameters(model: keras.Model) -> int:
    """Return the number of trainable parameters, which is the number that publications give."""
    return sum(math.prod(weight.shape) for weight in model.trainable_weights)


def _load_frozen(run: RunDirectory, data: Dataset) -> FrozenClassifier:
    return FrozenClassifier(run.load_classifier(), data.image_shape, data.num_classes)


def _save_summary(training: ClassifierTraining, run: RunDirectory) -> None:
    test = training.data.test
    correct = find_correct(compile_inference(training.model), test)
    low, high = wilson_interval(int(correct.sum()), len(correct))
    summary = {
        "schema": _SCHEMA,
        "classifier": training.model.name,
        "dataset": training.data.name,
        "parameters": count_parameters(training.model),
        "accuracy": float(np.mean(correct)),
        "n": len(correct),
        "ci_low": low,
        "ci_high": high,
        "validation_loss": -training.best.score,
        "seconds": round(training.seconds, 1),
        "note": test.note,
    }
    text = json.dumps(summary, indent=2) + "\n"
    multi_worker.run_on_chief(lambda: write_text_file(run.path / "summary.json", text))
