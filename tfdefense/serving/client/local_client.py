"""Clients of an exported model that run it in this process."""

import abc
import contextlib
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from tfdefense.classifiers.custom.saved_model_rules import (
    require_safe_loading,
    require_safe_signatures,
)
from tfdefense.errors import UserError, require, short_reason, unknown_name
from tfdefense.serving.client.model_client import (
    ModelClient,
    RequestRejected,
    rules_from_signature,
)
from tfdefense.serving.client.output_checks import OutputRules
from tfdefense.serving.client.tflite_rules import require_safe_tflite
from tfdefense.serving.core.class_names import load_class_names
from tfdefense.serving.core.input_checks import check_images, decode_images
from tfdefense.serving.core.model_directory import (
    SAVED_MODEL_FILE,
    TFLITE_FILE,
    latest_version,
)
from tfdefense.utils.file_trial import try_file
from tfdefense.utils.graph_checks import rejection_reason
from tfdefense.utils.hashing import hash_path
from tfdefense.utils.processors import usable_cores
from tfdefense.utils.real_path import real_path
from tfdefense.utils.tensorflow_path import require_tensorflow_path
from tfdefense.utils.trust import trusts_model_files
from tfdefense.utils.untrusted_file import require_regular_tree


def open_model(path: str | Path, flag: str = "model") -> ModelClient:
    """Open an exported model.

    Args:
      path: `<model>/`, of which the latest version is opened, or `<model>/<version>/`.
      flag: flag that names the model in error messages.

    Raises:
      UserError: the directory does not exist, holds no exported model, or is damaged.
    """
    path = Path(path)
    require(path.is_dir(), f"--{flag}={path}: no such directory.")
    directory = path if _client_class(path) else latest_version(path)
    client_class = _client_class(directory) if directory is not None else None
    if directory is not None and client_class is None:
        raise UserError(
            f"--{flag}={path}: its latest version, {directory.name}, has no {SAVED_MODEL_FILE} or"
            f" {TFLITE_FILE}. Remove it, or give another version: --{flag}={path / 'VERSION'}"
        )
    if directory is None or client_class is None:
        run_export = path / "export"
        hint = (
            f"There is one in {run_export}."
            if latest_version(run_export)
            else f"Make one with: bin/export --run=DIR --output={path}"
        )
        raise UserError(
            f"--{flag}={path}: no exported model (no numbered versions and no {SAVED_MODEL_FILE} or {TFLITE_FILE}). {hint}"
        )
    return client_class(directory, f"--{flag}={directory}")


class _LocalClient(abc.ABC):
    """Base of the clients that read a model directory; see `ModelClient`.

    Args:
      path: directory of one version.
      location: start of error messages.
    """

    _rules: OutputRules

    def __init__(self, path: Path, location: str) -> None:
        self.location = location
        require_tensorflow_path(path, location)
        require_regular_tree(path, location, allow_links=trusts_model_files())
        # A path alone is not enough: the first export of every run ends in "export/1".
        self.version = f"{'/'.join(real_path(path).parts[-2:])}@{hash_path(path)[:12]}"
        self.class_names = load_class_names(path)
        self._open(path)
        self.image_shape = self._rules.image_shape
        self.has_suspicion = self._rules.has_suspicion

    @abc.abstractmethod
    def _open(self, path: Path) -> None:
        """Read the model and set `_rules`; raise `UserError` if it is unsuitable."""

    @abc.abstractmethod
    def predict(self, signature: str, values: np.ndarray) -> dict[str, np.ndarray]:
        """See `ModelClient`."""


class SavedModelClient(_LocalClient):
    """Client of a SavedModel; see `ModelClient`."""

    def _open(self, path: Path) -> None:
        if not trusts_model_files():
            require_safe_loading(path, self.location)
            require_safe_signatures(path, self.location)
        try_file(path, _run_saved_model, (path,), self.location)
        try:
            # Keep the loaded object: the signatures alone do not keep the variables alive.
            self._loaded = tf.saved_model.load(str(path))
        except Exception as error:  # The exception type depends on the damage.
            raise UserError(f"{self.location}: cannot be loaded: {short_reason(error)}") from error
        self._signatures = self._loaded.signatures
        require("serving_default" in self._signatures, f"{self.location}: has no serving_default.")
        self._rules = _read_rules(self._signatures["serving_default"], self.location)

    def predict(self, signature: str, values: np.ndarray) -> dict[str, np.ndarray]:
        if signature not in self._signatures:
            raise unknown_name(f"signature of {self.location}", signature, self._signatures)
        function = self._signatures[signature]
        inputs = function.structured_input_signature[1]
        require(
            len(inputs) == 1,
            f"{self.location}: not a model of bin/export: its {signature} takes {len(inputs)} inputs.",
        )
        ((name, spec),) = inputs.items()
        try:
            given = tf.constant(values)
            is_convertible = given.dtype.is_floating and spec.dtype.is_floating
            outputs = function(**{name: tf.cast(given, spec.dtype) if is_convertible else given})
        except (tf.errors.InvalidArgumentError, TypeError, ValueError) as error:
            raise RequestRejected(rejection_reason(error)) from error
        arrays = {name: outputs[name].numpy() for name in sorted(outputs)}
        return self._rules.sound_outputs(arrays, signature, len(values))


class TFLiteClient(_LocalClient):
    """Client of a TFLite file; see `ModelClient`.

    A TFLite graph neither checks nor decodes images, so this class does both.
    """

    def _open(self, path: Path) -> None:
        if not trusts_model_files():
            require_safe_tflite(path / TFLITE_FILE, self.location)
        try_file(path, _run_tflite, (path,), self.location)
        try:
            self._interpreter = _open_interpreter(path)
            self._run = self._interpreter.get_signature_runner("serving_default")
            inputs, outputs = self._run.get_input_details(), self._run.get_output_details()
        except (ValueError, RuntimeError) as error:
            raise UserError(f"{self.location}: cannot be loaded: {short_reason(error)}") from error
        self._rules = rules_from_signature(
            {name: tuple(details["shape_signature"]) for name, details in inputs.items()},
            {name: tuple(details["shape_signature"]) for name, details in outputs.items()},
            self.location,
        )
        limits = {"image_shape": self._rules.image_shape, "max_batch": tf.int32.max}
        self._check = tf.function(
            lambda images: check_images(images, **limits),
            autograph=False,
            input_signature=[tf.TensorSpec([None, None, None, None], tf.float32)],
        )
        self._decode = tf.function(
            lambda image_bytes: decode_images(image_bytes, **limits),
            autograph=False,
            input_signature=[tf.TensorSpec([None], tf.string)],
        )

    def predict(self, signature: str, values: np.ndarray) -> dict[str, np.ndarray]:
        prepare = self._decode if signature == "serving_bytes" else self._check
        try:
            images = prepare(tf.constant(values))
        except (tf.errors.InvalidArgumentError, TypeError, ValueError) as error:
            raise RequestRejected(rejection_reason(error)) from error
        try:
            outputs = self._run(images=images.numpy())
        except (RuntimeError, ValueError) as error:
            raise UserError(
                f"{self.location}: fails on {len(values)} images: {short_reason(error)}. If it takes"
                " fewer at once, give a smaller --batch_size."
            ) from error
        return self._rules.sound_outputs(outputs, signature, len(values))


def _run_saved_model(path: Path) -> None:
    """Load a SavedModel and purify one black image, and one as a PNG file: the work of a trial."""
    loaded = tf.saved_model.load(str(path))
    image_shape = _read_rules(loaded.signatures["serving_default"], str(path)).image_shape
    values = {
        "serving_default": tf.zeros([1, *image_shape]),
        "serving_bytes": tf.io.encode_png(tf.zeros(image_shape, tf.uint8))[tf.newaxis],
    }
    for signature in values.keys() & loaded.signatures.keys():
        function = loaded.signatures[signature]
        ((name, _),) = function.structured_input_signature[1].items()
        with contextlib.suppress(tf.errors.OpError):  # The other signature may still not end.
            function(**{name: values[signature]})


def _read_rules(default: Any, location: str) -> OutputRules:
    """Return the rules for the outputs of a SavedModel, from its signature `serving_default`."""
    return rules_from_signature(
        _spec_shapes(default.structured_input_signature[1]),
        _spec_shapes(default.structured_outputs),
        location,
    )


def _open_interpreter(path: Path) -> tf.lite.Interpreter:
    with warnings.catch_warnings():  # TensorFlow announces that tf.lite will move.
        warnings.simplefilter("ignore")
        # It uses one thread by default.
        return tf.lite.Interpreter(str(path / TFLITE_FILE), num_threads=usable_cores())


def _run_tflite(path: Path) -> None:
    """Load a TFLite file and purify one black image: the work of a trial."""
    run = _open_interpreter(path).get_signature_runner("serving_default")
    ((name, details),) = run.get_input_details().items()
    sizes = [abs(int(size)) for size in details["shape_signature"]]
    run(**{name: np.zeros(sizes, details["dtype"])})


def _spec_shapes(specs: dict[str, tf.TensorSpec]) -> dict[str, tuple[int | None, ...]]:
    """Return the shapes by name; () for an open rank."""
    return {
        name: () if spec.shape.rank is None else tuple(spec.shape) for name, spec in specs.items()
    }


def _client_class(path: Path) -> type[SavedModelClient] | type[TFLiteClient] | None:
    if (path / SAVED_MODEL_FILE).is_file():
        return SavedModelClient
    return TFLiteClient if (path / TFLITE_FILE).is_file() else None
