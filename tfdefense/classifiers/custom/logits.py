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
    layer. Weights are shared with `model`.
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


def _without_activation(model: keras.Model) -> keras.Model | None:
    """Return a model that ends before the softmax or sigmoid of `model`; None if none is found.

    The activation of a last layer, such as `Dense(10, activation="softmax")`, is removed in place.
    """
    outputs = getattr(model, "outputs", None) or []
    if len(outputs) != 1:
        return None
    last, position, _ = outputs[0]._keras_history
    node = last._inbound_nodes[position]
    if outputs[0].shape[-1] == 1 and _is_softmax(last):
        return None  # Always 1: an error later.
    if _computes_activation(last):
        return keras.Model(model.inputs, node.input_tensors[0], name=model.name)
    if isinstance(last, keras.Model):
        return _without_activation_of_nested(model, last, node)
    # The activation of a recurrent layer is inside its steps.
    is_recurrent = isinstance(last, keras.layers.RNN)
    if not is_recurrent and getattr(last, "activation", None) in _ACTIVATIONS:
        last.activation = keras.activations.linear
        return model
    return None


def _without_activation_of_nested(
    model: keras.Model, nested: keras.Model, node: Any
) -> keras.Model | None:
    """Return `model`, whose last layer is the call `node` of another model, without its activation."""
    # `Functional.output` and its history are those of its own graph, not those of the call.
    shortened = _without_activation(nested) if len(nested.inputs) == 1 else None
    if shortened is None or shortened is nested:
        return model if shortened is nested else None
    # With a list of inputs, Keras would warn of a call with one tensor.
    shortened = keras.Model(nested.inputs[0], shortened.outputs[0], name=nested.name)
    outputs = shortened(*node.arguments.args, **node.arguments.kwargs)
    return keras.Model(model.inputs[0], outputs, name=model.name)


def _is_softmax(operation: keras.Operation) -> bool:
    is_layer = isinstance(operation, keras.layers.Softmax)
    return is_layer or getattr(operation, "activation", None) is keras.activations.softmax


def _computes_activation(operation: keras.Operation) -> bool:
    if isinstance(operation, TensorFlowFunction):
        return operation.function in _FUNCTIONS
    is_operation = not isinstance(operation, keras.Layer)
    name = type(operation).__name__
    return isinstance(operation, keras.layers.Softmax) or (
        is_operation and name in _GRAPH_ACTIVATIONS
    )


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
    """

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
