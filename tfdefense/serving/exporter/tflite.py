"""A defence and its classifier as one TFLite file, for phones and small machines."""

import re
import tempfile
from collections.abc import Sequence
from pathlib import Path

import tensorflow as tf

from tfdefense.errors import UserError, reason_of
from tfdefense.serving.core.model_directory import TFLITE_FILE
from tfdefense.serving.exporter.saved_model import networks_of, save_class_names
from tfdefense.serving.exporter.signatures import Signatures


def save(signatures: Signatures, path: Path, class_names: Sequence[str], precision: str) -> None:
    """Writes `model.tflite` and `class_names.txt`.

    Its one signature, `serving_default`, takes `images` float32 [N, H, W, C] in [0, 1], unchecked, and gives what
    `Signatures.answers` gives.

    Args:
      signatures, class_names: as for a SavedModel.
      path: the directory.
      precision: of the weights: "float32"; "float16"; or "int8", multiplied with activations that are rounded to
        eight bits as they come (dynamic range quantisation). What goes in and comes out is float32.

    Raises:
      UserError: TFLite has no operation for something in the defence.
      OSError: it cannot be written.
    """
    taken = tf.TensorSpec([None, *signatures.image_shape], tf.float32, name="images")
    module = tf.Module()
    module.stored = [v.value for network in networks_of(signatures) for v in network.variables]
    module.answers = tf.function(signatures.answers, input_signature=[taken], autograph=False)
    with tempfile.TemporaryDirectory() as scratch:
        # By way of a SavedModel, for that alone gives names to what goes in and comes out.
        tf.saved_model.save(module, scratch, signatures={"serving_default": module.answers})
        content = _converted(scratch, precision, signatures.defense.name)
    path.mkdir()
    (path / TFLITE_FILE).write_bytes(content)
    save_class_names(path, class_names)


def _converted(saved_model: str, precision: str, name: str) -> bytes:
    converter = tf.lite.TFLiteConverter.from_saved_model(saved_model)
    if precision != "float32":
        converter.optimizations = [tf.lite.Optimize.DEFAULT]
    if precision == "float16":
        converter.target_spec.supported_types = [tf.float16]
    try:
        return converter.convert()
    except Exception as error:  # The converter raises whatever its passes raise.
        missing = re.findall(r"^(?:TF Select|Custom) ops: (.+)$", str(error), re.MULTILINE)
        reason = f"TFLite has no {', '.join(missing)}" if missing else reason_of(error)[:200]
        raise UserError(f"--format=tflite: {name} cannot be converted: {reason}.") from error
