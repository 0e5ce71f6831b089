"""Export of a defence and its classifier as one numbered model version."""

import dataclasses
import errno
import shutil
import tempfile
from pathlib import Path

import keras

from tfdefense.defenses.core.defense import Defense
from tfdefense.errors import UserError, require
from tfdefense.serving.exporter.model_card import ModelContents, model_card
from tfdefense.serving.exporter.model_facts import ModelFacts
from tfdefense.serving.exporter.operations import graph_requirements, signature_operations
from tfdefense.serving.exporter.output_directory import (
    PARTIAL_PREFIX,
    remove_abandoned,
    version_directory,
)
from tfdefense.serving.exporter.saved_model import write_saved_model
from tfdefense.serving.exporter.signatures import Signatures
from tfdefense.serving.exporter.tflite import write_tflite
from tfdefense.serving.exporter.variant import Variant
from tfdefense.serving.exporter.variant_accuracy import measure_variant_accuracy
from tfdefense.serving.exporter.warmup import save_warmup_requests, warmup_batch_sizes
from tfdefense.utils.atomic_write import write_text_file
from tfdefense.utils.file_trial import skip_trial
from tfdefense.utils.real_path import real_path


def export(
    defense: Defense,
    directory: str | Path,
    variant: Variant | None = None,
    version: int | None = None,
    facts: ModelFacts | None = None,
) -> Path:
    """Write `<directory>/<version>/`, completely or not at all.

    A SavedModel has the signatures of `Signatures`, `assets/class_names.json` and, if the package
    `tensorflow-serving-api` is installed, warm-up requests. A TFLite model is one file,
    `model.tflite`, for images float32 [N, H, W, C] in [0, 1]. Both have a `model_card.md`.

    Args:
      defense: the defence, with its classifier.
      directory: directory of all versions of the model; its name is the model's name.
      variant: file format and precision; None means `Variant()`.
      version: version number; None means the next free one.
      facts: class names, report and images; None means `ModelFacts()`.

    Returns:
      The directory written.

    Raises:
      UserError: the classifier is not a Keras model, the number of class names is not that of its
        classes, the validation images have another shape, the version exists, other versions have
        another format, the directory is a link or cannot be written, or TFLite has no operation for
        a part of the defence.
    """
    variant, facts = variant or Variant(), facts or ModelFacts()
    signatures = Signatures(defense, variant.request_limit)
    classifier = signatures.classifier
    require(
        isinstance(classifier.model, keras.Model),
        f"export: classifier {classifier.name!r} is not a Keras model; only Keras models can be exported.",
    )
    sizes = warmup_batch_sizes(signatures, variant)
    class_names = tuple(facts.class_names) or tuple(map(str, range(classifier.num_classes)))
    require(
        len(class_names) == classifier.num_classes,
        f"export: {len(class_names)} class names given; the classifier {classifier.name!r} has"
        f" {classifier.num_classes} classes.",
    )
    directory = Path(directory)
    final = version_directory(directory, version, variant.format)
    try:
        directory.mkdir(parents=True, exist_ok=True)
        remove_abandoned(directory)
        if facts.validation_images is not None:
            signatures.calibrate(facts.validation_images)
        # A unique name: processes in two containers that share a disk may have the same number.
        scratch = tempfile.mkdtemp(prefix=PARTIAL_PREFIX, dir=directory)
        # Only this user may read `scratch`; a server may be another user.
        partial = directory / Path(scratch).name / final.name
        try:
            if variant.format == "tflite":
                write_tflite(signatures, partial, class_names, variant.precision)
                contents = ModelContents(class_names)
            else:
                write_saved_model(signatures, partial, class_names, variant.precision)
                has_warmup = save_warmup_requests(
                    signatures, partial, real_path(directory).name, sizes
                )
                contents = ModelContents(
                    class_names,
                    graph_requirements(partial),
                    signature_operations(partial),
                    sizes if has_warmup else (),
                )
            accuracies = (
                []
                if variant.is_plain or facts.test_images is None
                else measure_variant_accuracy(
                    defense, partial, facts.test_images, variant.request_limit
                )
            )
            contents = dataclasses.replace(contents, accuracies=accuracies)
            while True:
                card = model_card(signatures, variant, final, contents, facts.report)
                write_text_file(partial / "model_card.md", card)
                try:
                    partial.rename(final)
                    break
                except OSError as error:
                    if error.errno not in (errno.EEXIST, errno.ENOTEMPTY):
                        raise
                    # Another export was faster.
                    final = version_directory(directory, version, variant.format)
            skip_trial(final)
        finally:
            shutil.rmtree(scratch, ignore_errors=True)
    except OSError as error:
        raise UserError(f"--output={directory}: cannot be written ({error.strerror}).") from error
    return final
