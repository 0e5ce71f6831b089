"""TFLite file of a defence and its classifier, for phones and other small machines."""

import re
import tempfile
from collections.abc import Sequence
from pathlib import Path

import tensorflow as tf

from tfdefense.errors import UserError, short_reason
from tfdefense.serving.core.class_names import save_class_names
from tfdefense.serving.core.model_directory import TFLITE_FILE
from tfdefense.serving.exporter.saved_model import networks_of, require_holdable
from tfdefense.serving.exporter.signatures import Signatures


def write_tflite(
    signatures: Signatures, path: Path, class_names: Sequence[str], precision: str
) -> None:
    """Write `model.tflite` and `class_names.json`.

    The only signature is `serving_default`. It takes `images`, float32 [N, H, W, C] in [0, 1], does
    not check them, and returns the outputs of `Signatures.run_pipeline`.

    Args:
      signatures: signatures of the model.
      path: directory to write.
      class_names: K names.
      precision: type of the stored weights. "float32"; "float16"; or "int8", with activations
        rounded to 8 bits at run time (dynamic range quantisation). Inputs and outputs are always
        float32.

    Raises:
      UserError: TFLite has no operation for a part of the defence, or a weight is infinite in this
        precision.
      OSError: the directory cannot be written.
    """
    networks = networks_of(signatures)
    if precision == "float16":
        require_holdable([v for network in networks for v in network.variables], precision)
    images = tf.TensorSpec([None, *signatures.image_shape], tf.float32, name="images")
    module = tf.Module()
    module.stored = [v.value for network in networks for v in network.variables]
    module.run = tf.function(signatures.run_pipeline, input_signature=[images], autograph=False)
    with tempfile.TemporaryDirectory() as scratch:
        # The converter keeps the names of inputs and outputs only if it reads a SavedModel.
        tf.saved_model.save(module, scratch, signatures={"serving_default": module.run})
        content = _convert(scratch, precision, signatures.defense.name)
    path.mkdir()
    (path / TFLITE_FILE).write_bytes(content)
    save_class_names(path, class_names)


def _convert(saved_model: str, precision: str, defense_name: str) -> bytes:
    converter = tf.lite.TFLiteConverter.from_saved_model(saved_model)
    if precision != "float32":
        converter.optimizations = [tf.lite.Optimize.DEFAULT]
    if precision == "float16":
        converter.target_spec.supported_types = [tf.float16]
    try:
        return converter.convert()
    except Exception as error:  # The converter has no common exception type.
        missing = re.findall(r"^(?:TF Select|Custom) ops: (.+)$", str(error), re.MULTILINE)
        reason = f"TFLite has no {', '.join(missing)}" if missing else short_reason(error)[:200]
        raise UserError(
            f"--format=tflite: {defense_name} cannot be converted: {reason}."
            " Export it with: --format=saved_model"
        ) from error
