"""Purifier and classifier as one numbered model for TF Serving, or as a TFLite file."""

import os
import shutil
import time
from collections.abc import Sequence
from pathlib import Path

import keras

from tfdefense.data.core.dataset import Split
from tfdefense.defenses.core.defense import Defense
from tfdefense.errors import UserError, require
from tfdefense.evaluation.report.report import Report
from tfdefense.serving.core.model_directory import (
    SAVED_MODEL_FILE,
    TFLITE_FILE,
    latest,
    versions_in,
)
from tfdefense.serving.exporter import saved_model, tflite
from tfdefense.serving.exporter.model_card import model_card
from tfdefense.serving.exporter.signatures import Signatures
from tfdefense.serving.exporter.variant import Variant
from tfdefense.serving.exporter.variant_accuracy import kept_accuracy
from tfdefense.serving.exporter.warmup import save_warmup_requests
from tfdefense.training.run_directory import write_text

_ABANDONED_SECONDS = 24 * 3600


def export(
    defense: Defense,
    directory: str | Path,
    variant: Variant | None = None,
    version: int | None = None,
    class_names: Sequence[str] = (),
    report: Report | None = None,
    test: Split | None = None,
) -> Path:
    """Writes `<directory>/<version>/`, whole or not at all.

    A SavedModel has the signatures of `Signatures`, `assets/class_names.txt`, requests to warm a server up with, if
    the package `tensorflow-serving-api` is there; TFLite is one file, `model.tflite`, for images float32 [N, H, W, C] in [0, 1].
    `model_card.md` says what it is and withstands.

    Args:
      defense: with its classifier.
      directory: where the versions lie; its name is the model's.
      variant: None means `Variant()`.
      version: None means the next free number.
      class_names: K names; none means their numbers.
      report: of this defence, for the model card.
      test: images on which a variant is compared with the defence itself.

    Returns:
      The directory written.

    Raises:
      UserError: the classifier is not a Keras model, the version is there already or others are of another format, the
        directory cannot be written, or TFLite has no operation for something that the defence does.
    """
    variant = variant or Variant()
    signatures = Signatures(defense, variant.max_batch)
    classifier = signatures.classifier
    require(
        isinstance(classifier.model, keras.Model),
        f"export: classifier {classifier.name!r} is not a Keras model, only those can be saved.",
    )
    class_names = tuple(class_names) or tuple(map(str, range(classifier.num_classes)))
    directory = Path(directory)
    final = _place(directory, version, variant)
    partial = directory / f"partial-{os.getpid()}"
    try:
        directory.mkdir(parents=True, exist_ok=True)
        _remove_abandoned(directory)
        try:
            if variant.format == "tflite":
                tflite.save(signatures, partial, class_names, variant.precision)
            else:
                saved_model.save(signatures, partial, class_names, variant.precision)
                save_warmup_requests(signatures, partial, directory.name)
            kept = [] if variant.is_plain or test is None else kept_accuracy(defense, partial, test)
            card = model_card(signatures, variant, final, class_names, report, kept)
            write_text(partial / "model_card.md", card)
            partial.rename(final)
        finally:
            shutil.rmtree(partial, ignore_errors=True)
    except OSError as error:
        raise UserError(f"--output={directory}: cannot be written ({error.strerror}).") from error
    return final


def _place(directory: Path, version: int | None, variant: Variant) -> Path:
    newest = latest(directory)
    file = {"saved_model": SAVED_MODEL_FILE, "tflite": TFLITE_FILE}[variant.format]
    require(
        newest is None or not any(newest.iterdir()) or (newest / file).is_file(),
        f"--output={directory}: its versions are not of --format={variant.format}, and a server takes all for the same model."
        " Name another directory.",
    )
    free = 1 if newest is None else int(newest.name) + 1
    if version is None:
        return directory / str(free)
    require(version >= 1, f"--version={version}: at least 1 needed.")
    require(
        version not in versions_in(directory),
        f"--version={version}: is in {directory} already, and a server may have loaded it. The next free"
        f" number is {free}; without --version it is taken.",
    )
    return directory / str(version)


def _remove_abandoned(directory: Path) -> None:
    """What exports left that were killed while they wrote: no export takes a day."""
    for partial in directory.glob("partial-*"):
        if time.time() - partial.stat().st_mtime > _ABANDONED_SECONDS:
            shutil.rmtree(partial, ignore_errors=True)
