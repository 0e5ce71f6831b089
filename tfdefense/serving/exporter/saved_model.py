"""SavedModel of a defence and its classifier, for session loaders such as TF Serving."""

import contextlib
import tempfile
from collections.abc import Sequence
from pathlib import Path

import keras
import tensorflow as tf
from tensorflow.core.protobuf import saved_model_pb2
from tensorflow.python.framework import meta_graph

from tfdefense.errors import require
from tfdefense.serving.core.class_names import save_class_names
from tfdefense.serving.core.model_directory import SAVED_MODEL_FILE
from tfdefense.serving.exporter.output_directory import tensorflow_error_as_os_error
from tfdefense.serving.exporter.signatures import Signatures
from tfdefense.training.mixed_precision import compute_in


def write_saved_model(
    signatures: Signatures, path: Path, class_names: Sequence[str], precision: str = "float32"
) -> None:
    """Write the SavedModel and its `assets/class_names.json`.

    Args:
      signatures: signatures of the model.
      path: directory to write.
      class_names: K names.
      precision: type of the stored weights. "float32"; "float16" halves their size and computes in
        float32; "bfloat16" halves their size and computes in bfloat16.

    Raises:
      OSError: the directory cannot be written.
      UserError: a weight is infinite in this precision.
    """
    networks = networks_of(signatures)
    variables = [variable for network in networks for variable in network.variables]
    wide = [v for v in variables if precision != "float32" and v.dtype == "float32"]
    require_holdable(wide, precision)
    narrow = [tf.Variable(tf.cast(v.value, precision), trainable=False) for v in wide]
    unchanged = [v.value for v in variables if not any(v is each for each in wide)]

    def use_narrow_weights() -> contextlib.AbstractContextManager:
        widened = [tf.cast(variable, tf.float32) for variable in narrow]
        substitutes = list(zip(wide, widened, strict=True))
        return keras.StatelessScope(substitutes) if narrow else contextlib.nullcontext()

    module = tf.Module()
    # Store variables, not Keras models: Keras gives each variable two names, and session loaders
    # miss the second.
    module.stored = [*unchanged, *narrow]
    module.served = signatures.functions(use_narrow_weights)
    # float16 arithmetic is slow on CPUs, so float16 is a storage format only.
    arithmetic = "bfloat16" if precision == "bfloat16" else "float32"
    with tempfile.TemporaryDirectory() as scratch, compute_in(networks, arithmetic):
        names = save_class_names(Path(scratch), class_names)
        module.class_names = tf.saved_model.Asset(str(names))
        with tensorflow_error_as_os_error():
            tf.saved_model.save(module, str(path), signatures=module.served)
    _complete_graph(path, signatures.image_shape)


def require_holdable(variables: Sequence[keras.Variable], precision: str) -> None:
    """Raise `UserError` if float32 weights become infinite in a precision of 16 bits."""
    for variable in variables:
        narrow = tf.cast(variable.value, precision)
        require(
            not bool(tf.reduce_any(tf.math.is_inf(narrow))),
            f"--precision={precision}: {variable.path} has weights that are too large for it. Give"
            " --precision=float32.",
        )


def networks_of(signatures: Signatures) -> list[keras.Layer]:
    """Return the distinct networks that the signatures run."""
    networks = [*signatures.defense.networks().values(), signatures.classifier.model]
    if signatures.defense.detects:
        # A detector may look at the outputs of a classifier that another one replaces.
        networks.append(signatures.defense.classifier.model)
    return list({id(network): network for network in networks}.values())


def _complete_graph(path: Path, image_shape: tuple[int, ...]) -> None:
    """Write the image shape into the stored signatures, and remove what older programs do not know.

    The graph leaves the shape open, so that its own checks see images of other shapes. Attributes
    with their default values, and the names of variables for debuggers, change nothing; TensorFlow
    refuses an attribute that is newer than itself.
    """
    file = path / SAVED_MODEL_FILE
    saved = saved_model_pb2.SavedModel.FromString(file.read_bytes())
    (graph,) = saved.meta_graphs
    meta_graph.strip_graph_default_valued_attrs(graph)
    for node in graph.graph_def.node:
        if node.op == "VarHandleOp":
            node.attr.pop("debug_name", None)
    for signature in graph.signature_def.values():
        for tensor in signature.inputs.values():
            if len(tensor.tensor_shape.dim) == 4:
                for dimension, size in zip(tensor.tensor_shape.dim[1:], image_shape, strict=True):
                    dimension.size = size
    file.write_bytes(saved.SerializeToString(deterministic=True))
