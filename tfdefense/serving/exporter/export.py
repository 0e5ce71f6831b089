"""Export of a defence and its classifier as one numbered model version."""

import dataclasses
import os
import shutil
import time
from pathlib import Path

import keras

from tfdefense.defenses.core.defense import Defense
from tfdefense.errors import UserError, require
from tfdefense.serving.core.model_directory import (
    MAX_VERSION,
    SAVED_MODEL_FILE,
    TFLITE_FILE,
    latest_version,
    list_versions,
)
from tfdefense.serving.exporter.model_card import model_card
from tfdefense.serving.exporter.model_facts import ModelFacts
from tfdefense.serving.exporter.saved_model import write_saved_model
from tfdefense.serving.exporter.signatures import Signatures
from tfdefense.serving.exporter.tflite import write_tflite
from tfdefense.serving.exporter.variant import Variant
from tfdefense.serving.exporter.variant_accuracy import measure_variant_accuracy
from tfdefense.serving.exporter.warmup import save_warmup_requests
from tfdefense.utils.atomic_write import write_text_file
from tfdefense.utils.file_trial import skip_trial

_ABANDONED_SECONDS = 24 * 3600


def export(
    defense: Defense,
    directory: str | Path,
    variant: Variant | None = None,
    version: int | None = None,
    facts: ModelFacts | None = None,
) -> Path:
    """Write `<directory>/<version>/`, completely or not at all.

    A SavedModel has the signatures of `Signatures`, `assets/class_names.txt` and, if the package
    `tensorflow-serving-api` is installed, warm-up requests. A TFLite model is one file,
    `model.tflite`, for images float32 [N, H, W, C] in [0, 1]. Both have a `model_card.md`.

    Args:
      defense: the defence, with its classifier.
      directory: directory of all versions of the model; its name is the model's name.
      variant: file format and precision; None means `Variant()`.
      version: version number; None means the next free one.
      facts: class names, report and test images; None means `ModelFacts()`.

    Returns:
      The directory written.

    Raises:
      UserError: the classifier is not a Keras model, the version exists, other versions have
        another format, the directory cannot be written, or TFLite has no operation for a part of
        the defence.
    """
    variant, facts = variant or Variant(), facts or ModelFacts()
    signatures = Signatures(defense, variant.max_batch)
    classifier = signatures.classifier
    require(
        isinstance(classifier.model, keras.Model),
        f"export: classifier {classifier.name!r} is not a Keras model; only Keras models can be exported.",
    )
    class_names = tuple(facts.class_names) or tuple(map(str, range(classifier.num_classes)))
    directory = Path(directory)
    final = _version_directory(directory, version, variant)
    partial = directory / f"partial-{os.getpid()}"
    try:
        directory.mkdir(parents=True, exist_ok=True)
        _remove_abandoned(directory)
        try:
            if variant.format == "tflite":
                write_tflite(signatures, partial, class_names, variant.precision)
            else:
                write_saved_model(signatures, partial, class_names, variant.precision)
                save_warmup_requests(signatures, partial, directory.name)
            accuracies = (
                []
                if variant.is_plain or facts.test_images is None
                else measure_variant_accuracy(defense, partial, facts.test_images)
            )
            facts = dataclasses.replace(facts, class_names=class_names)
            card = model_card(signatures, variant, final, facts, accuracies)
            write_text_file(partial / "model_card.md", card)
            partial.rename(final)
            skip_trial(final)
        finally:
            shutil.rmtree(partial, ignore_errors=True)
    except OSError as error:
        raise UserError(f"--output={directory}: cannot be written ({error.strerror}).") from error
    return final


def _version_directory(directory: Path, version: int | None, variant: Variant) -> Path:
    newest = latest_version(directory)
    file = {"saved_model": SAVED_MODEL_FILE, "tflite": TFLITE_FILE}[variant.format]
    require(
        newest is None or not any(newest.iterdir()) or (newest / file).is_file(),
        f"--output={directory}: has versions that are not of --format={variant.format}, and a server treats all versions"
        " as one model. Give another directory.",
    )
    free = 1 if newest is None else int(newest.name) + 1
    if version is None:
        require(
            free <= MAX_VERSION,
            f"--output={directory}: has the version {MAX_VERSION}, the largest. Give another directory.",
        )
        return directory / str(free)
    require(
        1 <= version <= MAX_VERSION,
        f"--version={version}: a number from 1 to {MAX_VERSION} is needed.",
    )
    require(
        version not in list_versions(directory),
        f"--version={version}: exists in {directory}, and a server may have loaded it. Leave --version out to write"
        f" the next free version, {free}.",
    )
    return directory / str(version)


def _remove_abandoned(directory: Path) -> None:
    """Remove the partial directories of killed exports: those older than a day."""
    for partial in directory.glob("partial-*"):
        if time.time() - partial.stat().st_mtime > _ABANDONED_SECONDS:
            shutil.rmtree(partial, ignore_errors=True)
