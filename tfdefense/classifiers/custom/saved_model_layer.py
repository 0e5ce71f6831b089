"""Keras layer that runs a TensorFlow graph with constant weights, made from a SavedModel.

The layer needs no Python code of the model, can be saved in a `.keras` file, and passes gradients.
"""

import hashlib
import itertools
import re
from collections.abc import Callable, Collection, Iterable
from pathlib import Path
from typing import Any

import keras
import tensorflow as tf
from tensorflow.core.protobuf import saved_model_pb2
from tensorflow.python.framework.convert_to_constants import convert_variables_to_constants_v2

from tfdefense.errors import UserError, require

# Parts of the names of operations that access files, call Python code or contact other machines (PrintV2
# can write to any file). Parts, because each operation has several versions and new ones are added.
_UNSAFE = re.compile(
    "PyFunc|File|Reader|RecordInput|Summary|Event|Print|Debug|Dump|Dataset|Iterator|Checkpoint|Save|Restore|ImmutableConst"
    "|LoadAndRemap|FixedUnigram|StoreMinibatch|Rpc|RemoteCall"
)
# Operations of the functions that save and restore a SavedModel. Every SavedModel has them, and they are
# never called here.
_SAVING_OPERATIONS = {"MergeV2Checkpoints", "RestoreV2", "SaveV2", "ShardedFilename"}


@keras.saving.register_keras_serializable("tfdefense")
class FrozenGraph(keras.Layer):
    """Layer that runs a graph with one input and one output.

    Args:
      feed: name of the input tensor.
      fetch: name of the output tensor.
      outputs: K, the number of outputs per image.
      graph: the serialized GraphDef, in which the weights are constants; empty until `load_assets`.
      digest: hash of the graph, so that layers with different graphs have different configurations;
        None computes it.
      **keywords: see `keras.Layer`.
    """

    def __init__(
        self,
        feed: str,
        fetch: str,
        outputs: int,
        graph: bytes = b"",
        digest: str | None = None,
        **keywords: Any,
    ) -> None:
        super().__init__(**keywords)
        self.feed, self.fetch, self.outputs, self.graph = feed, fetch, outputs, graph
        self.digest = digest or hashlib.blake2b(graph, digest_size=16).hexdigest()
        self._function: Callable[[tf.Tensor], tf.Tensor] | None = None

    def call(self, images: tf.Tensor) -> tf.Tensor:
        """Return the outputs float32 [N, K] of images float32 [N, H, W, C] in the graph's format."""
        if self._function is None:
            self._function = self._import_graph()
        return tf.ensure_shape(self._function(images), [None, self.outputs])

    def _import_graph(self) -> Callable[[tf.Tensor], tf.Tensor]:
        definition = tf.compat.v1.GraphDef.FromString(self.graph)
        wrapped = tf.compat.v1.wrap_function(
            lambda: tf.compat.v1.import_graph_def(definition, name=""), []
        )
        graph = wrapped.graph
        return wrapped.prune(
            graph.get_tensor_by_name(self.feed), graph.get_tensor_by_name(self.fetch)
        )

    def compute_output_shape(self, input_shape: tuple[int | None, ...]) -> tuple[int | None, int]:
        """Return [N, K]."""
        return (input_shape[0], self.outputs)

    def get_config(self) -> dict[str, Any]:
        names = ("feed", "fetch", "outputs", "digest")
        return {**super().get_config(), **{name: getattr(self, name) for name in names}}

    def save_assets(self, directory: str) -> None:
        """Save the graph in a `.keras` file."""
        (Path(directory) / "graph.pb").write_bytes(self.graph)

    def load_assets(self, directory: str) -> None:
        """Load the graph from a `.keras` file."""
        self.graph = (Path(directory) / "graph.pb").read_bytes()


def freeze_saved_model(
    path: Path, *, unsafe: bool = False
) -> tuple[FrozenGraph, tuple[int | None, ...]]:
    """Make a layer of the signature of a SavedModel that takes images, without its softmax.

    Args:
      path: the directory.
      unsafe: accept a graph that accesses files or calls Python code.

    Returns:
      The layer, and the shape [N, H, W, C] of its input.

    Raises:
      UserError: the SavedModel is damaged or unsafe, or has no signature from images to logits.
    """
    if not unsafe:
        _require_safe(path)
    try:
        loaded = tf.saved_model.load(str(path))
    except Exception as error:  # There is another exception for each kind of damage.
        raise UserError(f"--classifier={path}: cannot be loaded: {_first_line(error)}") from error
    signature = _find_signature(loaded, path)
    specs = signature.structured_input_signature[1]
    require(
        len(specs) == 1,
        f"--classifier={path}: its signature takes {', '.join(sorted(specs)) or 'nothing'}; one"
        " float32 tensor of images needed.",
    )
    (spec,) = specs.values()
    require(
        spec.dtype == tf.float32,
        f"--classifier={path}: takes {spec.dtype.name}, float32 needed (no gradient passes through"
        " whole numbers).",
    )
    name = _find_output(signature, path)
    frozen = convert_variables_to_constants_v2(signature)
    if not unsafe:
        _require_safe_graphs([frozen.graph.as_graph_def()], path)
    position = sorted(signature.structured_outputs).index(name)
    layer = _make_layer(frozen, frozen.outputs[position], path)
    return layer, tuple(spec.shape.as_list())


def freeze_keras_model(model: keras.Model, image_shape: tuple[int, ...], path: Path) -> FrozenGraph:
    """Make a layer of a Keras model in inference mode, without its softmax.

    The layer needs no Python code of the model.

    Args:
      model: the model.
      image_shape: the shape (H, W, C) of its images.
      path: its file, for error messages.

    Raises:
      UserError: its output is not [N, K].
    """
    function = tf.function(lambda images: model(images, training=False))
    concrete = function.get_concrete_function(tf.TensorSpec([None, *image_shape], tf.float32))
    frozen = convert_variables_to_constants_v2(concrete)
    return _make_layer(frozen, frozen.outputs[0], path)


def _make_layer(frozen: Any, output: tf.Tensor, path: Path) -> FrozenGraph:
    (feed,) = frozen.inputs
    fetch = _before_softmax(output)
    shape = fetch.shape if fetch.shape.rank is not None else output.shape
    require(
        shape.rank == 2 and shape[1] is not None,
        f"--classifier={path}: gives a tensor of shape {shape}, [N, classes] needed.",
    )
    graph = frozen.graph.as_graph_def()
    for node in graph.node:
        # It names a gradient function in Python that is missing here. Without it, TensorFlow
        # differentiates the operations of the node, with the same result.
        node.attr.pop("_gradient_op_type", None)
    return FrozenGraph(
        feed.name, fetch.name, shape[1], graph.SerializeToString(), name="frozen_graph"
    )


def _before_softmax(tensor: tf.Tensor) -> tf.Tensor:
    """Return the input of the softmax that computes `tensor`; without a softmax, `tensor`."""
    found = tensor
    while found.op.type == "Identity":
        found = found.op.inputs[0]
    return found.op.inputs[0] if found.op.type == "Softmax" else tensor


def _find_signature(loaded: Any, path: Path) -> Any:
    signatures = loaded.signatures
    if "serving_default" in signatures:
        return signatures["serving_default"]
    require(
        len(signatures) == 1,
        f"--classifier={path}: has the signatures {', '.join(sorted(signatures)) or '(none)'};"
        " 'serving_default', or a single one, needed.",
    )
    return next(iter(signatures.values()))


def _find_output(signature: Any, path: Path) -> str:
    outputs = signature.structured_outputs
    if "logits" in outputs:
        return "logits"
    require(
        len(outputs) == 1,
        f"--classifier={path}: its signature gives {', '.join(sorted(outputs))}; 'logits', or a single"
        " output, needed.",
    )
    return next(iter(outputs))


def _require_safe(path: Path) -> None:
    try:
        saved = saved_model_pb2.SavedModel.FromString((path / "saved_model.pb").read_bytes())
    except Exception as error:  # Protobuf's DecodeError, or the file system's.
        raise UserError(f"--classifier={path}: saved_model.pb is damaged.") from error
    _require_safe_graphs([meta.graph_def for meta in saved.meta_graphs], path, _SAVING_OPERATIONS)


def _require_safe_graphs(graphs: Iterable[Any], path: Path, allowed: Collection[str] = ()) -> None:
    for graph in graphs:
        functions = (function.node_def for function in graph.library.function)
        nodes = itertools.chain(graph.node, *functions)
        found = sorted({node.op for node in nodes if _UNSAFE.search(node.op)} - set(allowed))
        require(
            not found,
            f"--classifier={path}: contains {', '.join(found)}, which access files or call Python code. If"
            " you trust it: --unsafe_load.",
        )


def _first_line(error: Exception) -> str:
    return next(iter(str(error).splitlines()), type(error).__name__)
