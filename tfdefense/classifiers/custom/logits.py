"""Conversion of a classifier that ends in a softmax or sigmoids to one that returns logits.

The softmax of logits z is unchanged if a constant is added to z, so `log p` are logits of
probabilities p. Sigmoids are inverted one by one, z = log p - log(1 - p). A single sigmoid is the
probability of the second of two classes: its logits are [0, z].
"""

import dataclasses
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from tfdefense.classifiers.custom.tensorflow_function import TensorFlowFunction

_ACTIVATIONS = (keras.activations.softmax, keras.activations.sigmoid)
_FUNCTIONS = ("nn.softmax", "nn.sigmoid", "math.sigmoid")
_GRAPH_ACTIVATIONS = ("Softmax", "Sigmoid")
_TRANSPARENT_LAYERS = (
    keras.layers.Identity,
    keras.layers.Dropout,
    keras.layers.Flatten,
    keras.layers.Reshape,
)
_TRANSPARENT = ("Identity", "Cast", "StopGradient")


@dataclasses.dataclass(frozen=True)
class Network:
    """The layers of a custom model, which take images in the model's own format.

    Attributes:
      layer: maps images [N, H, W, C] to outputs [N, K].
      has_logits: true if the outputs are logits because a softmax or sigmoid was removed.
      dtype: dtype of the model's outputs, "float32".
    """

    layer: keras.Layer
    has_logits: bool = False
    dtype: str = "float32"


def remove_activation(model: keras.Model) -> Network:
    """Return `model` without the softmax or sigmoid at its end, if one is found.

    It is the last layer, the activation of the last layer, or that of a nested model that is the last
    layer. Layers behind it that change no value, such as a conversion to float32, do not matter.
    Weights are shared with `model`.
    """
    outputs = getattr(model, "outputs", None) or []
    dtype = keras.backend.standardize_dtype(outputs[0].dtype) if outputs else "float32"
    shortened = _without_activation(model)
    return Network(shortened or model, has_logits=shortened is not None, dtype=dtype)


def before_activation(tensor: tf.Tensor) -> tf.Tensor:
    """Return the input of the softmax or sigmoid that computes `tensor` in a graph, or `tensor`."""
    found = tensor
    while found.op.type in _TRANSPARENT and found.op.inputs[0].dtype.is_floating:
        found = found.op.inputs[0]
    is_constant = found.op.type == "Softmax" and found.shape.rank and found.shape[-1] == 1
    return found.op.inputs[0] if found.op.type in _GRAPH_ACTIVATIONS and not is_constant else tensor


def _without_activation(model: keras.Model, *, is_shared: bool = False) -> keras.Model | None:
    """Return a model that ends before the softmax or sigmoid of `model`; None if none is found.

    The activation of a last layer, such as `Dense(10, activation="softmax")`, is removed in place,
    but not if the model calls this layer elsewhere too, or is itself called elsewhere (`is_shared`).
    """
    outputs = getattr(model, "outputs", None) or []
    if len(outputs) != 1:
        return None
    tensor, after = _before_transparent_layers(outputs[0])
    last, position, _ = tensor._keras_history
    node = last._inbound_nodes[position]
    is_shared = is_shared or _count_calls(model, last) > 1
    if tensor.shape[-1] == 1 and _is_softmax(last):
        return None  # Always 1: an error later.
    if _computes_activation(last):
        logits = node.input_tensors[0]
    elif isinstance(last, keras.Model):
        shortened = (
            _without_activation(last, is_shared=is_shared) if len(last.inputs) == 1 else None
        )
        if shortened is None or shortened is last:
            return model if shortened is last else None
        # `Functional.output` and its history are those of its own graph, not those of the call.
        # With a list of inputs, Keras would warn of a call with one tensor.
        shortened = keras.Model(last.inputs[0], shortened.outputs[0], name=last.name)
        logits = shortened(*node.arguments.args, **node.arguments.kwargs)
    elif _has_activation(last) and not is_shared:
        last.activation = keras.activations.linear
        return model
    else:
        return None
    for layer in after:
        logits = layer(logits)
    return keras.Model(model.inputs[0], logits, name=model.name)


def _before_transparent_layers(tensor: Any) -> tuple[Any, list[keras.Layer]]:
    """Return the input of the layers at the end that change no value, and these, the first one first.

    Other shapes are followed only as far as all values stay on one axis, along which a softmax is.
    """
    after: list[keras.Layer] = []
    while True:
        layer, position, _ = tensor._keras_history
        node = layer._inbound_nodes[position]
        is_linear = getattr(layer, "activation", None) is keras.activations.linear
        is_transparent = isinstance(layer, _TRANSPARENT_LAYERS) or (
            isinstance(layer, keras.layers.Activation) and is_linear
        )
        if not is_transparent or len(node.input_tensors) != 1:
            return tensor, after
        given = node.input_tensors[0]
        if given.shape != tensor.shape and any(side != 1 for side in given.shape[1:-1]):
            return tensor, after
        tensor, after = given, [layer, *after]


def _count_calls(model: keras.Model, layer: keras.Operation) -> int:
    """Return how often a model calls a layer; a layer also has calls of other models."""
    graph = getattr(model, "_functional", None) or model  # The graph of a Sequential.
    nodes = [node for depth in graph._nodes_by_depth.values() for node in depth]
    return sum(node.operation is layer for node in nodes)


def _has_activation(layer: keras.Operation) -> bool:
    # The activation of a recurrent layer is inside its steps.
    is_recurrent = isinstance(layer, keras.layers.RNN)
    return not is_recurrent and getattr(layer, "activation", None) in _ACTIVATIONS


def _is_softmax(operation: keras.Operation) -> bool:
    is_layer = isinstance(operation, keras.layers.Softmax)
    return is_layer or getattr(operation, "activation", None) is keras.activations.softmax


def _computes_activation(operation: keras.Operation) -> bool:
    if isinstance(operation, TensorFlowFunction):
        return operation.function in _FUNCTIONS
    is_operation = not isinstance(operation, keras.Layer)
    name = type(operation).__name__
    is_layer = isinstance(operation, keras.layers.Softmax) or (
        isinstance(operation, keras.layers.Activation) and _has_activation(operation)
    )
    return is_layer or (is_operation and name in _GRAPH_ACTIVATIONS)


def looks_like_probabilities(outputs: np.ndarray, dtype: str = "float32") -> bool:
    """Return whether outputs [N, K] can be those of a softmax: not negative, each row sums to 1.

    Args:
      outputs: floating point [N, K].
      dtype: the dtype that they were computed in.
    """
    tolerance = 1e-4 if dtype in ("float32", "float64") else 2e-2
    sums = outputs.sum(axis=-1)
    return bool(np.all(outputs >= 0) and np.allclose(sums, 1.0, atol=tolerance))


def looks_like_sigmoids(outputs: np.ndarray) -> bool:
    """Return whether outputs [N, K] can be those of sigmoids: all are in [0, 1]."""
    return bool(np.all(outputs >= 0) and np.all(outputs <= 1))


@keras.saving.register_keras_serializable("tfdefense")
class LogarithmOfProbabilities(keras.Layer):
    """Layer that inverts a softmax: the softmax of `log p` is `p`, so `log p` are logits.

    It is exact for probabilities of at least 1.2e-38, the smallest normal number of float32, which is a
    difference of 87 between logits. Smaller ones are replaced by that number and have no gradient.
    """

    def call(self, probabilities: keras.KerasTensor) -> keras.KerasTensor:
        """Return the logits [N, K] of probabilities [N, K]."""
        smallest = float(np.finfo(np.float32).tiny)
        return keras.ops.log(keras.ops.maximum(probabilities, smallest))


@keras.saving.register_keras_serializable("tfdefense")
class LogarithmOfOdds(keras.Layer):
    """Layer that inverts sigmoids: `log p - log(1 - p)`.

    It is exact for probabilities of at least 1.2e-38, and at most 1 - 6e-8, above which float32 has no
    number but 1: logits from -87 to 16.6. Others are limited to these and have no gradient.

    Attributes:
      needs_float32: true: bfloat16 has no number between 0.996 and 1, so probabilities above 0.998
        would have no gradient. See `compute_in`.
    """

    needs_float32 = True

    def call(self, probabilities: keras.KerasTensor) -> keras.KerasTensor:
        """Return the logits [N, K] of probabilities [N, K]."""
        smallest = float(np.finfo(np.float32).tiny)
        largest_rest = float(np.finfo(np.float32).epsneg)
        ops = keras.ops
        rest = ops.maximum(1.0 - probabilities, largest_rest)
        return ops.log(ops.maximum(probabilities, smallest)) - ops.log(rest)


@keras.saving.register_keras_serializable("tfdefense")
class TwoClassLogits(keras.Layer):
    """Layer that makes logits [N, 2] of one logit z: [0, z], whose softmax is [1 - s, s], s = sigmoid(z)."""

    def call(self, logit: keras.KerasTensor) -> keras.KerasTensor:
        """Return [0, z], of shape [N, 2], of logits [N, 1]."""
        return keras.ops.concatenate([keras.ops.zeros_like(logit), logit], axis=-1)
