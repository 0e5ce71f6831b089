"""Keras layer that runs a TensorFlow graph with constant weights, made from a SavedModel.

The layer needs no Python code of the model, can be saved in a `.keras` file, and passes gradients.
"""

import hashlib
from pathlib import Path
from typing import Any

import keras
import tensorflow as tf
from tensorflow.python.framework.convert_to_constants import convert_variables_to_constants_v2

from tfdefense.classifiers.custom.frozen_signature import freeze_signature
from tfdefense.classifiers.custom.graph_loops import bound_loops
from tfdefense.classifiers.custom.graph_precision import compute_graph_in_float32
from tfdefense.classifiers.custom.graph_pruning import canonical_graph
from tfdefense.classifiers.custom.graph_rules import needed_graph, require_allowed_graph
from tfdefense.classifiers.custom.logits import Network, before_activation
from tfdefense.classifiers.custom.output_selection import OutputSelection
from tfdefense.classifiers.custom.saved_model_file import model_reason, read_saved_model
from tfdefense.classifiers.custom.saved_model_rules import (
    require_safe_loading,
    require_safe_signature,
)
from tfdefense.errors import UserError, require
from tfdefense.utils.trust import trusts_model_files


@keras.saving.register_keras_serializable("tfdefense")
class FrozenGraph(keras.Layer):
    """Layer that runs a graph with one input and one output.

    The graph is judged by `graph_rules` when it is read from a file and before it runs, so a file
    that names this layer cannot run other operations. Its loops have at most `MAX_STEPS` steps. A
    layer that was made in a block of `trust_model_files` is not judged.

    Args:
      feed: name of the input tensor.
      fetch: name of the output tensor.
      outputs: K, the number of outputs per image.
      graph: the serialized GraphDef, in which the weights are constants; empty until `load_assets`.
      digest: hash of the graph, so that layers with different graphs have different configurations;
        None computes it.
      **keywords: `batch_size`, and those of `keras.Layer`. `batch_size` is the number of images that
        the graph takes at a time; None if it takes any number. Batches of other sizes are split, and
        padded with black images.
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
        self.batch_size: int | None = keywords.pop("batch_size", None)
        super().__init__(**keywords)
        self.feed, self.fetch, self.outputs, self.graph = feed, fetch, outputs, graph
        self.digest = digest or _digest(graph)
        self._is_trusted = trusts_model_files()
        self._function: Any = None  # A concrete function.

    def call(self, images: tf.Tensor) -> tf.Tensor:
        """Return the outputs float32 [N, K] of images float32 [N, H, W, C] in the graph's format."""
        if self._function is None:
            self._function = self._import_graph()
        graph_input = tf.cast(images, self._function.inputs[0].dtype)
        if self.batch_size is None:
            logits = self._function(graph_input)
        else:
            logits = self._call_in_batches(graph_input, self.batch_size)
        return tf.cast(tf.ensure_shape(logits, [None, self.outputs]), tf.float32)

    def _call_in_batches(self, images: tf.Tensor, size: int) -> tf.Tensor:
        function = self._function
        assert function is not None
        count = tf.shape(images)[0]
        batches = -(-count // size)
        padded = tf.pad(images, [[0, batches * size - count], [0, 0], [0, 0], [0, 0]])
        parts = tf.reshape(padded, [batches, size, *images.shape[1:]])
        spec = tf.TensorSpec([size, self.outputs], function.outputs[0].dtype)
        logits = tf.map_fn(
            lambda part: tf.reshape(function(part), spec.shape), parts, fn_output_signature=spec
        )
        return tf.reshape(logits, [-1, self.outputs])[:count]

    def _import_graph(self) -> Any:
        # Runs of version 0.2.0 hold graphs that compute in 16 bits.
        definition = compute_graph_in_float32(self._judged_graph())
        wrapped = tf.compat.v1.wrap_function(
            lambda: tf.compat.v1.import_graph_def(definition, name=""), []
        )
        graph = wrapped.graph
        return wrapped.prune(
            graph.get_tensor_by_name(self.feed), graph.get_tensor_by_name(self.fetch)
        )

    def _judged_graph(self) -> Any:
        """Return the part of the graph that runs, as a GraphDef; raise `UserError` if it may not."""
        place = f"the graph in layer {self.name!r}"
        try:
            graph = tf.compat.v1.GraphDef.FromString(self.graph)
        except Exception as error:  # Protobuf's DecodeError.
            raise UserError(f"{place} is damaged.") from error
        needed = needed_graph(graph, self.fetch)
        if self._is_trusted:
            return needed
        require_allowed_graph(needed, place)
        return bound_loops(needed)

    def compute_output_shape(self, input_shape: tuple[int | None, ...]) -> tuple[int | None, int]:
        """Return [N, K]."""
        return (input_shape[0], self.outputs)

    def get_config(self) -> dict[str, Any]:
        names: tuple[str, ...] = ("feed", "fetch", "outputs", "digest")
        # Models that were saved without this argument keep their fingerprint.
        names += ("batch_size",) if self.batch_size is not None else ()
        return {**super().get_config(), **{name: getattr(self, name) for name in names}}

    def save_assets(self, directory: str) -> None:
        """Save the graph in a `.keras` file."""
        (Path(directory) / "graph.pb").write_bytes(self.graph)

    def load_assets(self, directory: str) -> None:
        """Load the graph from a `.keras` file; `require_safe` judges it later."""
        self.graph = (Path(directory) / "graph.pb").read_bytes()

    def require_safe(self) -> None:
        """Raise `UserError` if the graph is damaged or contains an operation that may not run."""
        require(_digest(self.graph) == self.digest, f"the graph in layer {self.name!r} is damaged.")
        self._judged_graph()


def _digest(graph: bytes) -> str:
    return hashlib.blake2b(graph, digest_size=16).hexdigest()


def freeze_saved_model(
    path: Path, outputs: OutputSelection | None = None
) -> tuple[Network, tuple[int | None, ...]]:
    """Make a layer of the signature of a SavedModel that takes images, without its softmax.

    Args:
      path: the directory.
      outputs: its signature and output; None means the usual ones.

    Returns:
      The layer, and the shape [N, H, W, C] of its input.

    Raises:
      UserError: the SavedModel is damaged or unsafe, or has no signature from images to logits.
    """
    place = f"--classifier={path}"
    if not trusts_model_files():
        require_safe_loading(path, place)
    saved = read_saved_model(path)
    feed, fetch = (outputs or OutputSelection()).select_tensors(saved)
    if not trusts_model_files():
        require_safe_signature(saved.graph, fetch.tensor, place)
    ends = freeze_signature(saved, feed, fetch)
    shape = feed.shape or (None,) * 4
    network = _make_layer(ends, fetch.shape, path, batch_size=shape[0])
    return network, shape


def freeze_keras_model(model: keras.Model, image_shape: tuple[int, ...], path: Path) -> Network:
    """Make a layer of a trusted Keras model in inference mode, without its softmax.

    The layer needs no Python code of the model.

    Args:
      model: the model.
      image_shape: the shape (H, W, C) of its images.
      path: its file, for error messages.

    Raises:
      UserError: its output is not [N, K], or it cannot be called with such images.
    """
    function = tf.function(lambda images: model(images, training=False), autograph=False)
    try:
        concrete = function.get_concrete_function(tf.TensorSpec([None, *image_shape], tf.float32))
        frozen = convert_variables_to_constants_v2(concrete)
    except Exception as error:  # Any exception of the model's own code.
        raise UserError(
            f"--classifier={path}: cannot take such images: {model_reason(error)}"
        ) from error
    return _make_layer((frozen.inputs[0], frozen.outputs[0]), None, path)


def _make_layer(
    ends: tuple[tf.Tensor, tf.Tensor],
    declared: tuple[int | None, ...] | None,
    path: Path,
    *,
    batch_size: int | None = None,
) -> Network:
    """Make a layer of the graph between two tensors.

    Args:
      ends: the input and the output.
      declared: the stated shape of the output; None if there is none.
      path: the model, for error messages.
      batch_size: see `FrozenGraph`.
    """
    feed, output = ends
    fetch = before_activation(output)
    shapes = [fetch.shape, output.shape, tf.TensorShape(declared)]
    shape = next((shape for shape in shapes if shape.rank == 2 and shape[1]), output.shape)
    require(
        shape.rank == 2 and shape[1] is not None,
        f"--classifier={path}: gives a tensor of shape {shape}, [N, classes] needed.",
    )
    definition = feed.graph.as_graph_def()
    graph, feed_name, fetch_name = canonical_graph(definition, feed.name, fetch.name)
    layer = FrozenGraph(
        feed_name, fetch_name, shape[1], graph, batch_size=batch_size, name="frozen_graph"
    )
    return Network(layer, has_logits=fetch is not output, dtype=output.dtype.name)
