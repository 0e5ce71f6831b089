"""Registered classifiers in their run directories: trained once, and then found."""

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import keras
import numpy as np

from tfdefense.classifiers.core.architecture import Architecture
from tfdefense.classifiers.core.classifier_training import (
    ClassifierConfig,
    ClassifierTraining,
    find_correct,
    compile_inference,
)
from tfdefense.classifiers.core.frozen_classifier import FrozenClassifier
from tfdefense.data.core.dataset import DATA_SETTINGS, Dataset
from tfdefense.errors import require
from tfdefense.training.distribute import multi_worker
from tfdefense.training.run_directory import RunDirectory
from tfdefense.training.stored_config import StoredConfig
from tfdefense.utils.atomic_write import write_text_file
from tfdefense.utils.progress import print_line
from tfdefense.utils.statistics import wilson_interval

_SCHEMA = 1


def locate_run(architecture: Architecture, data: Dataset, runs_dir: str | Path = "runs") -> RunDirectory:
    """Where the trained classifier for `data` lies: `<runs_dir>/<dataset>-<name>`."""
    return RunDirectory(Path(runs_dir) / f"{data.name}-{architecture.name}")


def train_classifier(
    architecture: Architecture,
    data: Dataset,
    run: RunDirectory,
    seed: int = 0,
    config: ClassifierConfig | None = None,
    overwrite: bool = False,
) -> FrozenClassifier:
    """Trains into `run`, or goes on with what a call with the same settings left there.

    Writes `classifier.keras` and, measured on all test images once at the very end, `summary.json`.

    Raises:
      UserError: images it cannot take, a directory of something else, or one of other settings.
      WorkFailedError: the loss is no longer finite.
    """
    training = ClassifierTraining(architecture, data, seed, config)
    settings = {**data.settings(), "classifier": architecture.name, **training.settings()}
    run.create_or_reuse(StoredConfig("classifier", settings, {"data_dir": data.data_dir}), overwrite=overwrite)
    if not run.classifier_path.is_file():
        print_line(f"Training the classifier {training.name} into {run.path}.")
        training.fit(run.path)
        _save_summary(training, run)
        run.save_classifier(training.model)
    measured = read_summary(run)
    if measured is not None:
        print_line(format_summary(measured))
    return _frozen(run, data)


def load_or_train(
    architecture: Architecture, data: Dataset, runs_dir: str | Path = "runs", seed: int = 0
) -> FrozenClassifier:
    """The classifier that lies in `run_of(...)`, trained by its recipe if there is none yet."""
    run = locate_run(architecture, data, runs_dir)
    if not run.exists():
        return train_classifier(architecture, data, run, seed)
    settings = require_matching_run(run, data)
    if run.classifier_path.is_file():
        return _frozen(run, data)
    # Somebody began to train it, perhaps with settings of her own: it is gone on with as it was begun.
    return train_classifier(architecture, data, run, settings["seed"], read_config(settings))


def require_matching_run(run: RunDirectory, data: Dataset) -> dict[str, Any]:
    """The settings of a classifier's run; raises `UserError` if it is not one for `data`."""
    settings = dict(run.require_kind("classifier").settings)
    require(
        data.named_by(settings),
        f"--{run.flag}={run.path}: is a classifier of {_flags(settings)}, one of {_flags(data.settings())} needed.",
    )
    return settings


def _flags(settings: Mapping[str, Any]) -> str:
    """Those that name images, as they are typed."""
    sizes = {"image_size": lambda size: "x".join(map(str, size))}
    given = {name: settings[name] for name in DATA_SETTINGS if name in settings}
    return " ".join(f"--{name}={sizes.get(name, str)(value)}" for name, value in given.items())


def read_config(settings: dict[str, Any]) -> ClassifierConfig:
    """What a run was trained with, from its settings."""
    names = ClassifierConfig.__dataclass_fields__
    return ClassifierConfig(**{name: value for name, value in settings.items() if name in names})


def read_summary(run: RunDirectory) -> dict[str, Any] | None:
    """What `train` measured, or None where it is not there."""
    path = run.path / "summary.json"
    return json.loads(path.read_text()) if path.is_file() else None


def format_summary(measured: dict[str, Any]) -> str:
    """The summary for a person."""
    note = f" {measured['note']}" if measured["note"] else ""
    return (
        f"{measured['classifier']} on {measured['dataset']}: {measured['parameters']:,} parameters,"
        f" test accuracy {measured['accuracy']:.2%}"
        f" [{measured['ci_low']:.2%}, {measured['ci_high']:.2%}], n = {measured['n']:,},"
        f" trained in {_duration(measured['seconds'])}.{note}"
    )


def _duration(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds < 100 else f"{seconds / 60:.1f} min"


def count_parameters(model: keras.Model) -> int:
    """How many numbers training changes: what publications count."""
    return sum(math.prod(weight.shape) for weight in model.trainable_weights)


def _frozen(run: RunDirectory, data: Dataset) -> FrozenClassifier:
    return FrozenClassifier(run.load_classifier(), data.image_shape, data.num_classes)


def _save_summary(training: ClassifierTraining, run: RunDirectory) -> None:
    test = training.data.test
    hits = find_correct(compile_inference(training.model), test)
    low, high = wilson_interval(int(hits.sum()), len(hits))
    measured = {
        "schema": _SCHEMA,
        "classifier": training.model.name,
        "dataset": training.data.name,
        "parameters": count_parameters(training.model),
        "accuracy": float(np.mean(hits)),
        "n": len(hits),
        "ci_low": low,
        "ci_high": high,
        "validation_loss": -training.best.score,
        "seconds": round(training.seconds, 1),
        "note": test.note,
    }
    text = json.dumps(measured, indent=2) + "\n"
    multi_worker.run_on_chief(lambda: write_text_file(run.path / "summary.json", text))
