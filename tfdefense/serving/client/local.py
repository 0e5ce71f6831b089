"""An exported model, run here."""

import warnings
from pathlib import Path

import numpy as np
import tensorflow as tf

from tfdefense.errors import UserError, reason_of, require
from tfdefense.serving.client.model_client import Refused, ServedModel, image_shape_of, refusal
from tfdefense.serving.core.input_checks import checked_images, decoded_images
from tfdefense.serving.core.model_directory import (
    CLASS_NAMES_FILE,
    SAVED_MODEL_FILE,
    TFLITE_FILE,
    latest,
)
from tfdefense.utils.hashing import file_fingerprint


def open_model(path: str | Path, flag: str = "model") -> ServedModel:
    """An exported model: `<model>/`, whose latest version is taken, or `<model>/<version>/`.

    Args:
      path: the directory.
      flag: by which the user named it.

    Raises:
      UserError: nothing there, something else's directory, or a damaged one.
    """
    path = Path(path)
    require(path.is_dir(), f"--{flag}={path}: no such directory.")
    place = path if _kind(path) else latest(path)
    kind = place and _kind(place)
    exported = path / "export"
    hint = f"bin/export --run=DIR --output={path} makes one."
    require(
        bool(kind),
        f"--{flag}={path}: no exported model (neither numbered versions nor a {SAVED_MODEL_FILE} or {TFLITE_FILE} in it). "
        + (f"There is one in {exported}." if latest(exported) else hint),
    )
    return kind(place, f"--{flag}={place}")


class _Model:
    """A model in a directory.

    Args:
      path: the directory.
      place: what messages call it.
    """

    def __init__(self, path: Path, place: str = "") -> None:
        self.place = place or str(path)
        # The last parts of the path alone are the same for every run's first export.
        self.version = f"{'/'.join(path.resolve().parts[-2:])}@{file_fingerprint(path)[:12]}"
        self.class_names = _class_names(path)
        self.open(path)


class LocalModel(_Model):
    """A SavedModel; see `ServedModel`."""

    def open(self, path: Path) -> None:
        """Reads it; raises `UserError` where it is damaged, or something else."""
        try:
            # Kept, for its signatures do not keep the variables alive.
            self._loaded = tf.saved_model.load(str(path))
        except Exception as error:  # Every kind of damage raises another type.
            raise UserError(f"{self.place}: cannot be loaded: {reason_of(error)}") from error
        self._signatures = self._loaded.signatures
        require("serving_default" in self._signatures, f"{self.place}: has no serving_default.")
        default = self._signatures["serving_default"]
        self.image_shape = image_shape_of(
            {name: tuple(spec.shape) for name, spec in default.structured_outputs.items()},
            {
                name: tuple(spec.shape)
                for name, spec in default.structured_input_signature[1].items()
            },
            self.place,
        )

    def predict(self, signature: str, values: np.ndarray) -> dict[str, np.ndarray]:
        """See `ServedModel`."""
        require(signature in self._signatures, f"{self.place}: has no signature {signature!r}.")
        function = self._signatures[signature]
        (name,) = function.structured_input_signature[1]
        try:
            answers = function(**{name: tf.constant(values)})
        except (tf.errors.InvalidArgumentError, TypeError, ValueError) as error:
            raise Refused(refusal(error)) from error
        return {name: answers[name].numpy() for name in sorted(answers)}


class LiteModel(_Model):
    """A TFLite file; what it does not do itself, check and decode, is done here. See `ServedModel`."""

    def open(self, path: Path) -> None:
        """Reads it; raises `UserError` where it is damaged, or something else."""
        try:
            with warnings.catch_warnings():  # Of where it will move to in a later TensorFlow.
                warnings.simplefilter("ignore")
                self._interpreter = tf.lite.Interpreter(str(path / TFLITE_FILE))
            self._run = self._interpreter.get_signature_runner("serving_default")
            outputs, inputs = self._run.get_output_details(), self._run.get_input_details()
        except (ValueError, RuntimeError) as error:
            raise UserError(f"{self.place}: cannot be loaded: {reason_of(error)}") from error
        self.image_shape = image_shape_of(
            {name: tuple(about["shape_signature"]) for name, about in outputs.items()},
            {name: tuple(about["shape_signature"]) for name, about in inputs.items()},
            self.place,
        )
        about = {"image_shape": self.image_shape, "max_batch": tf.int32.max}
        images = tf.TensorSpec([None, None, None, None], tf.float32)
        self._checked = tf.function(
            lambda given: checked_images(given, **about), input_signature=[images]
        )
        self._decoded = tf.function(
            lambda given: decoded_images(given, **about),
            input_signature=[tf.TensorSpec([None], tf.string)],
        )

    def predict(self, signature: str, values: np.ndarray) -> dict[str, np.ndarray]:
        """See `ServedModel`."""
        let_in = self._decoded if signature == "serving_bytes" else self._checked
        try:
            images = let_in(tf.constant(values))
        except (tf.errors.InvalidArgumentError, TypeError, ValueError) as error:
            raise Refused(refusal(error)) from error
        return self._run(images=images.numpy())


def _class_names(path: Path) -> tuple[str, ...]:
    for file in (path / "assets" / CLASS_NAMES_FILE, path / CLASS_NAMES_FILE):
        if file.is_file():
            return tuple(file.read_text().splitlines())
    return ()


def _kind(path: Path) -> type[LocalModel] | type[LiteModel] | None:
    if (path / SAVED_MODEL_FILE).is_file():
        return LocalModel
    return LiteModel if (path / TFLITE_FILE).is_file() else None
