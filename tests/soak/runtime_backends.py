"""OpenVINO and ONNX Runtime for `other_runtimes.py`: they load a signature of an export and run it."""

import importlib.metadata
import importlib.util
import logging
import re
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from unittest import mock

import numpy as np
import tensorflow as tf
from tensorflow.core.protobuf import saved_model_pb2

from tests.soak.output_agreement import agrees
from tfdefense.serving.exporter.operations import signature_operations

PACKAGES = ("openvino", "tf2onnx", "onnxruntime")
COUNTS = (1, 3, 8)
OPSET = 18  # Older sets lack bitwise operations.

Run = Callable[[np.ndarray], dict[str, np.ndarray]]


class CannotConvert(Exception):
    """A runtime cannot load a signature.

    Args:
      reason: message of the runtime.
      lacking: operations that it names.
    """

    def __init__(self, reason: str, lacking: set[str]) -> None:
        super().__init__(reason)
        self.lacking = lacking


def open_in_openvino(path: Path, signature: str, scratch: Path) -> Run:
    """Return a function that runs a signature in OpenVINO, which reads `serving_default` alone."""
    import openvino

    saved = saved_model_pb2.SavedModel.FromString((path / "saved_model.pb").read_bytes())
    signatures = saved.meta_graphs[0].signature_def
    wanted = type(signatures[signature]).FromString(signatures[signature].SerializeToString())
    signatures.clear()
    signatures["serving_default"].CopyFrom(wanted)
    renamed = Path(tempfile.mkdtemp(dir=scratch))
    (renamed / "saved_model.pb").write_bytes(saved.SerializeToString())
    for folder in ("variables", "assets"):
        (renamed / folder).symlink_to(path.resolve() / folder)
    exact = {"INFERENCE_PRECISION_HINT": "f32"}  # By default it may compute in bfloat16.
    try:
        model = openvino.Core().compile_model(renamed, "CPU", exact)
    except RuntimeError as error:
        lists = r"No conversion rule found for operations|Conversion is failed for"
        found = re.findall(rf"(?:{lists}): (.+)", str(error))
        raise CannotConvert(str(error), set(", ".join(found).split(", "))) from error

    def run(values: np.ndarray) -> dict[str, np.ndarray]:
        outputs = model([values])
        return {output.any_name: outputs[output] for output in model.outputs}

    return run


def open_in_onnxruntime(path: Path, signature: str, scratch: Path) -> Run:
    """Return a function that runs a signature in ONNX Runtime, converted by tf2onnx."""
    import onnxruntime
    import tf2onnx.convert
    from tf2onnx.handler import tf_op

    file = scratch / "model.onnx"
    arguments = f"tf2onnx --tag serve --opset {OPSET} --signature_def {signature}".split()
    arguments += ["--saved-model", str(path), "--output", str(file)]
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    messages: list[str] = []
    handler = logging.Handler()
    handler.emit = lambda record: messages.append(record.getMessage())  # type: ignore[method-assign]
    logger = logging.getLogger("tf2onnx")
    logger.handlers, logger.propagate = [handler], False
    try:
        with mock.patch.object(sys, "argv", arguments):
            tf2onnx.convert.main()
        session = onnxruntime.InferenceSession(file, options)
    except Exception as error:  # The converter has no common exception type.
        text = "\n".join(messages)
        lacking = set(re.findall(r"^Tensorflow op \[.+: (\w+)\] is not supported$", text, re.M))
        if not lacking:  # It stopped before its own check.
            versions = [each for sets in tf_op.get_opsets().values() for each in sets]
            known = {name for each in versions for name in each or ()}
            lacking = set(signature_operations(path)[signature]) - known
        raise CannotConvert(str(error), lacking) from error
    names = [output.name for output in session.get_outputs()]
    (values_name,) = [each.name for each in session.get_inputs()]
    return lambda values: dict(zip(names, session.run(names, {values_name: values}), strict=True))


RUNTIMES = {"OpenVINO": open_in_openvino, "ONNX Runtime": open_in_onnxruntime}


def different_outputs(run: Run, path: Path, signature: str, images: np.ndarray) -> list[str]:
    """Return descriptions of the outputs that are not TensorFlow's."""
    reference = tf.saved_model.load(str(path)).signatures[signature]
    ((name, _),) = reference.structured_input_signature[1].items()
    wrong = []
    for count in COUNTS:
        values = images[:count] if name == "images" else encode_images(images[:count])
        expected = {
            key: np.asarray(t) for key, t in reference(**{name: tf.constant(values)}).items()
        }
        found = run(values)
        if found.keys() != expected.keys():
            return [f"outputs {', '.join(sorted(found))}"]
        for key, value in expected.items():
            if not agrees(key, found[key], value):
                wrong.append(f"{key} of {count}")
    return wrong


def encode_images(images: np.ndarray) -> np.ndarray:
    files = [tf.io.encode_png(np.uint8(np.round(255 * image))).numpy() for image in images]
    return np.array(files, object)


def runtime_titles() -> list[str]:
    """Return the names of the runtimes with the installed versions, the columns of the table."""
    versions = {name: importlib.metadata.version(name) for name in PACKAGES}
    numbers = {name: ".".join(version.split(".")[:2]) for name, version in versions.items()}
    return [
        f"OpenVINO {numbers['openvino']}",
        f"ONNX Runtime {numbers['onnxruntime']} (tf2onnx {numbers['tf2onnx']})",
    ]


def missing_packages() -> list[str]:
    return [name for name in PACKAGES if importlib.util.find_spec(name) is None]
