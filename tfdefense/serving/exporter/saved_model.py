"""A defence and its classifier as a SavedModel that a session loader reads: TF Serving's, or the C API's."""

import contextlib
import tempfile
from collections.abc import Sequence
from pathlib import Path

import keras
import tensorflow as tf
from tensorflow.core.protobuf import saved_model_pb2

from tfdefense.serving.core.model_directory import CLASS_NAMES_FILE, SAVED_MODEL_FILE
from tfdefense.serving.exporter.signatures import Signatures
from tfdefense.training.precision import computing


def save(
    signatures: Signatures, path: Path, class_names: Sequence[str], precision: str = "float32"
) -> None:
    """Writes the SavedModel, with `assets/class_names.txt`, a line each.

    Args:
      signatures: what it can be asked.
      path: the directory.
      class_names: K names.
      precision: "float32"; "float16", which halves the weights' bytes and computes with them as float32; or
        "bfloat16", which halves them and computes in bfloat16 too.

    Raises:
      OSError: it cannot be written.
    """
    networks = networks_of(signatures)
    variables = [variable for network in networks for variable in network.variables]
    wide = [v for v in variables if precision != "float32" and v.dtype == "float32"]
    narrow = [tf.Variable(tf.cast(v.value, precision), trainable=False) for v in wide]
    plain = [v.value for v in variables if not any(v is each for each in wide)]

    def weights() -> contextlib.AbstractContextManager:
        widened = [tf.cast(variable, tf.float32) for variable in narrow]
        substituted = list(zip(wide, widened, strict=True))
        return keras.StatelessScope(substituted) if narrow else contextlib.nullcontext()

    module = tf.Module()
    # Not the models that hold them: Keras names each variable twice, and no session loader finds the second.
    module.stored = [*plain, *narrow]
    module.served = signatures.functions(weights)
    # Computing in float16 is slow on CPUs, so that is how weights lie on the disk alone.
    arithmetic = "bfloat16" if precision == "bfloat16" else "float32"
    with tempfile.TemporaryDirectory() as scratch, computing(networks, arithmetic):
        names = save_class_names(Path(scratch), class_names)
        module.class_names = tf.saved_model.Asset(str(names))
        try:
            tf.saved_model.save(module, str(path), signatures=module.served)
        except tf.errors.OpError as error:
            raise OSError(0, error.message.splitlines()[0]) from error
    _tell_image_shape(path, signatures.image_shape)


def save_class_names(directory: Path, class_names: Sequence[str]) -> Path:
    """Writes `class_names.txt`, a line each."""
    path = directory / CLASS_NAMES_FILE
    path.write_text("".join(f"{name}\n" for name in class_names))
    return path


def networks_of(signatures: Signatures) -> list[keras.Layer]:
    """The networks of defence and classifier, each once."""
    found = (*signatures.defense.networks().values(), signatures.classifier.model)
    return list({id(network): network for network in found}.values())


def _tell_image_shape(path: Path, image_shape: tuple[int, int, int]) -> None:
    """Writes into the signatures what size images have, which their graphs leave open for their own checks."""
    file = path / SAVED_MODEL_FILE
    saved = saved_model_pb2.SavedModel.FromString(file.read_bytes())
    for signature in saved.meta_graphs[0].signature_def.values():
        for tensor in signature.inputs.values():
            if len(tensor.tensor_shape.dim) == 4:
                for dimension, size in zip(tensor.tensor_shape.dim[1:], image_shape, strict=True):
                    dimension.size = size
    file.write_bytes(saved.SerializeToString(deterministic=True))
