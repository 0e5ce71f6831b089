"""A TensorFlow graph with constant weights as a Keras layer: what a SavedModel becomes here.

Such a layer needs none of the Python that made the model, fits into a `.keras` file, and passes gradients.
"""

import hashlib
import itertools
import re
from collections.abc import Collection, Iterable
from pathlib import Path
from typing import Any

import keras
import tensorflow as tf
from tensorflow.core.protobuf import saved_model_pb2
from tensorflow.python.framework.convert_to_constants import convert_variables_to_constants_v2

from tfdefense.errors import UserError, require

# What a graph may not do when it is merely asked for logits: touch files (PrintV2 writes to any), call Python or others. By
# parts of names, for each has many forms, and newer versions of TensorFlow bring more.
_UNSAFE = re.compile(
    "PyFunc|File|Reader|RecordInput|Summary|Event|Print|Debug|Dump|Dataset|Iterator|Checkpoint|Save|Restore|ImmutableConst"
    "|LoadAndRemap|FixedUnigram|StoreMinibatch|Rpc|RemoteCall"
)
# Every SavedModel has these, in the functions that save and restore it, which are never called here.
_OF_SAVING = {"MergeV2Checkpoints", "RestoreV2", "SaveV2", "ShardedFilename"}


@keras.saving.register_keras_serializable("tfdefense")
class FrozenGraph(keras.Layer):
    """Runs a graph with one input and one output.

    Args:
      feed, fetch: names of the tensors that go in and come out.
      outputs: K, what comes out for each image.
      graph: the serialized GraphDef, with constants for weights; empty until its file is loaded.
      digest: a hash of the graph, which tells two such layers apart by their configuration.
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
        self._function = None

    def call(self, images: tf.Tensor) -> tf.Tensor:
        """Images float32 [N, H, W, C], as the graph wants them -> float32 [N, K]."""
        if self._function is None:
            definition = tf.compat.v1.GraphDef.FromString(self.graph)
            wrapped = tf.compat.v1.wrap_function(
                lambda: tf.compat.v1.import_graph_def(definition, name=""), []
            )
            graph = wrapped.graph
            self._function = wrapped.prune(
                graph.get_tensor_by_name(self.feed), graph.get_tensor_by_name(self.fetch)
            )
        return tf.ensure_shape(self._function(images), [None, self.outputs])

    def compute_output_shape(self, input_shape: tuple[int | None, ...]) -> tuple[int | None, int]:
        """[N, K]."""
        return (input_shape[0], self.outputs)

    def get_config(self) -> dict[str, Any]:
        own = ("feed", "fetch", "outputs", "digest")
        return {**super().get_config(), **{name: getattr(self, name) for name in own}}

    def save_assets(self, directory: str) -> None:
        """Writes the graph into a `.keras` file."""
        (Path(directory) / "graph.pb").write_bytes(self.graph)

    def load_assets(self, directory: str) -> None:
        """Reads the graph from a `.keras` file."""
        self.graph = (Path(directory) / "graph.pb").read_bytes()


def freeze_saved_model(
    path: Path, unsafe: bool = False
) -> tuple[FrozenGraph, tuple[int | None, ...]]:
    """The signature of a SavedModel that takes images, its softmax taken off, and what it takes.

    Args:
      path: the directory.
      unsafe: accept a graph that touches files or calls Python.

    Returns:
      The layer, and the shape [N, H, W, C] of its input.

    Raises:
      UserError: damaged, unsafe, or without a signature from images to logits.
    """
    if not unsafe:
        _require_safe(path)
    try:
        loaded = tf.saved_model.load(str(path))
    except Exception as error:  # Every kind of damage raises another type.
        raise UserError(f"--classifier={path}: cannot be loaded: {_first_line(error)}") from error
    signature = _signature(loaded, path)
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
    name = _output(signature, path)
    frozen = convert_variables_to_constants_v2(signature)
    if not unsafe:
        _require_safe_graphs([frozen.graph.as_graph_def()], path)
    position = sorted(signature.structured_outputs).index(name)
    layer = _layer(frozen, frozen.outputs[position], path)
    return layer, tuple(spec.shape.as_list())


def freeze_keras_model(model: keras.Model, image_shape: tuple[int, ...], path: Path) -> FrozenGraph:
    """A Keras model's inference as a frozen graph, its softmax taken off.

    Nothing of its Python is needed, or runs, afterwards.
    """
    function = tf.function(lambda images: model(images, training=False))
    concrete = function.get_concrete_function(tf.TensorSpec([None, *image_shape], tf.float32))
    frozen = convert_variables_to_constants_v2(concrete)
    return _layer(frozen, frozen.outputs[0], path)


def _layer(frozen: Any, output: tf.Tensor, path: Path) -> FrozenGraph:
    (feed,) = frozen.inputs
    fetch = _before_softmax(output)
    shape = fetch.shape if fetch.shape.rank is not None else output.shape
    require(
        shape.rank == 2 and shape[1] is not None,
        f"--classifier={path}: gives a tensor of shape {shape}, [N, classes] needed.",
    )
    graph = frozen.graph.as_graph_def()
    for node in graph.node:
        # Refers to Python that is not here; without it, TensorFlow differentiates the node's own
        # operations, which comes to the same derivative.
        node.attr.pop("_gradient_op_type", None)
    return FrozenGraph(
        feed.name, fetch.name, shape[1], graph.SerializeToString(), name="frozen_graph"
    )


def _before_softmax(tensor: tf.Tensor) -> tf.Tensor:
    found = tensor
    while found.op.type == "Identity":
        found = found.op.inputs[0]
    return found.op.inputs[0] if found.op.type == "Softmax" else tensor


def _signature(loaded: Any, path: Path) -> Any:
    signatures = loaded.signatures
    if "serving_default" in signatures:
        return signatures["serving_default"]
    require(
        len(signatures) == 1,
        f"--classifier={path}: has the signatures {', '.join(sorted(signatures)) or '(none)'};"
        " 'serving_default', or a single one, needed.",
    )
    return next(iter(signatures.values()))


def _output(signature: Any, path: Path) -> str:
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
    _require_safe_graphs([meta.graph_def for meta in saved.meta_graphs], path, _OF_SAVING)


def _require_safe_graphs(graphs: Iterable[Any], path: Path, allowed: Collection[str] = ()) -> None:
    for graph in graphs:
        functions = (function.node_def for function in graph.library.function)
        nodes = itertools.chain(graph.node, *functions)
        found = sorted({node.op for node in nodes if _UNSAFE.search(node.op)} - set(allowed))
        require(
            not found,
            f"--classifier={path}: contains {', '.join(found)}, which touch files or call Python. If you"
            " trust it: --unsafe_load.",
        )


def _first_line(error: Exception) -> str:
    return next(iter(str(error).splitlines()), type(error).__name__)
