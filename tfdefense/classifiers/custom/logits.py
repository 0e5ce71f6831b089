"""From a classifier that ends in a softmax to one that gives logits."""

import contextlib

import keras
import numpy as np


def remove_softmax(model: keras.Model) -> keras.Model:
    """`model` without the softmax that its last layer is or has; `model` itself if none is found.

    A `Softmax` layer inside a model that is itself a layer is left where it is: it shows in the outputs,
    and `LogarithmOfProbabilities` inverts it.
    """
    last = _last_layer(model)
    if isinstance(last, keras.layers.Softmax):
        return keras.Model(model.inputs, last.input, name=model.name)
    while isinstance(last, keras.Model):
        last = _last_layer(last)
    if getattr(last, "activation", None) is keras.activations.softmax:
        last.activation = keras.activations.linear
    return model


def _last_layer(model: keras.Model) -> keras.Layer | None:
    """The layer whose output is the model's; None where the model is not a graph of layers."""
    outputs = getattr(model, "outputs", None)
    if not outputs or len(outputs) != 1:
        return None
    for layer in reversed(model.layers):
        with contextlib.suppress(AttributeError, ValueError):  # Never called, or more than once.
            if layer.output is outputs[0]:
                return layer
    return None


def looks_like_probabilities(outputs: np.ndarray) -> bool:
    """Whether outputs [N, K] look like a softmax's: none negative, each row sums to 1."""
    return bool(np.all(outputs >= 0) and np.allclose(outputs.sum(axis=-1), 1.0, atol=1e-4))


@keras.saving.register_keras_serializable("tfdefense")
class LogarithmOfProbabilities(keras.Layer):
    """Inverts a softmax: the softmax of `log p` is `p` again, so `log p` are logits.

    Exact as long as no probability is below float32's smallest normal number (1.2e-38, a difference of 87
    between logits); smaller ones count as that, and no gradient comes through them.
    """

    def call(self, probabilities: keras.KerasTensor) -> keras.KerasTensor:
        """Probabilities [N, K] -> logits [N, K]."""
        smallest = float(np.finfo(np.float32).tiny)
        return keras.ops.log(keras.ops.maximum(probabilities, smallest))
