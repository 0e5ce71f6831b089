"""Conversion of a classifier that ends in a softmax to one that returns logits."""

import contextlib

import keras
import numpy as np


def remove_softmax(model: keras.Model) -> keras.Model:
    """Return `model` without the softmax at its end; return `model` itself if none is found.

    The softmax is the last layer, or the activation of the last layer. A `Softmax` layer inside a
    nested model is not removed. Its outputs are probabilities, which `LogarithmOfProbabilities` inverts.
    """
    last = _last_layer(model)
    if isinstance(last, keras.layers.Softmax):
        return keras.Model(model.inputs, last.input, name=model.name)
    while isinstance(last, keras.Model):
        last = _last_layer(last)
    if last is not None and getattr(last, "activation", None) is keras.activations.softmax:
        last.activation = keras.activations.linear
    return model


def _last_layer(model: keras.Model) -> keras.Layer | None:
    """Return the layer whose output is the model's; None if the model is not a graph of layers."""
    outputs = getattr(model, "outputs", None)
    if not outputs or len(outputs) != 1:
        return None
    for layer in reversed(model.layers):
        with contextlib.suppress(
            AttributeError, ValueError
        ):  # The layer was never called, or more than once.
            if layer.output is outputs[0]:
                return layer
    return None


def looks_like_probabilities(outputs: np.ndarray) -> bool:
    """Return whether outputs [N, K] can be those of a softmax: not negative, each row sums to 1."""
    return bool(np.all(outputs >= 0) and np.allclose(outputs.sum(axis=-1), 1.0, atol=1e-4))


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
