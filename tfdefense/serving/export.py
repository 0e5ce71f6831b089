"""Purifier and classifier as one SavedModel for TF Serving."""

import os
import shutil
from pathlib import Path

import keras
import tensorflow as tf

from tfdefense.classifiers.frozen import FrozenClassifier
from tfdefense.defenses.base import Defense
from tfdefense.errors import UserError, require


def export(defense: Defense, directory: str | Path) -> Path:
    """Writes `<directory>/<version>/`, the next free number, whole or not at all.

    Signatures, all for `images` float32 [N, H, W, C] in [0, 1], any N:
      `serving_default`: `purified` [N, H, W, C], `logits` [N, K], `probabilities` [N, K],
        `classes` int64 [N]; of a defence that detects also `refused`, bool [N].
      `purify`: `purified` alone.

    Returns:
      The directory written.

    Raises:
      UserError: the classifier is not a Keras model, or the directory cannot be written.
    """
    classifier = defense.defend().classifier
    require(
        isinstance(classifier.model, keras.Model),
        f"export: classifier {classifier.name!r} is not a Keras model, only those can be saved.",
    )
    directory = Path(directory)
    try:
        directory.mkdir(parents=True, exist_ok=True)
        versions = [int(path.name) for path in directory.iterdir() if path.name.isdigit()]
        final = directory / str(max(versions, default=0) + 1)
        partial = directory / f"partial-{os.getpid()}"
        try:
            _write(defense, classifier, partial)
            partial.rename(final)
        finally:
            shutil.rmtree(partial, ignore_errors=True)
    except OSError as error:
        raise UserError(f"--output={directory}: cannot be written ({error.strerror}).") from error
    return final


def _write(defense: Defense, classifier: FrozenClassifier, path: Path) -> None:
    images = tf.TensorSpec([None, *classifier.image_shape], tf.float32, name="images")

    def purify(images: tf.Tensor) -> dict[str, tf.Tensor]:
        return {"purified": defense.purify(images)}

    def serve(images: tf.Tensor) -> dict[str, tf.Tensor]:
        purified = defense.purify(images)
        logits = classifier(purified)
        outputs = {
            "purified": purified,
            "logits": logits,
            "probabilities": tf.nn.softmax(logits),
            "classes": tf.argmax(logits, axis=-1),
        }
        if defense.detects:
            outputs["refused"] = defense.excess(images) > 0
        return outputs

    # Not `tf.saved_model.save` on a module that holds the models: Python reloads that without
    # complaint, and every session loader (TF Serving's too) fails on its doubled variables.
    archive = keras.export.ExportArchive()
    for model in {id(m): m for m in (*defense.networks().values(), classifier.model)}.values():
        archive.track(model)
    archive.add_endpoint("serving_default", serve, input_signature=[images])
    archive.add_endpoint("purify", purify, input_signature=[images])
    try:
        archive.write_out(path, verbose=False)
    except tf.errors.OpError as error:
        raise OSError(0, error.message.splitlines()[0]) from error
