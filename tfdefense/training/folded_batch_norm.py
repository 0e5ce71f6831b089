"""Batch normalisation of frozen networks as a part of the convolutions before it.

Inference multiplies each channel by a scale and adds an offset. The kernel and the bias of the
convolution can contain both (Jacob et al. 2018, "Quantization and Training of Neural Networks",
section 3.2), which saves two passes over the images and two over their gradients. Layers change only
inside `use_folded_batch_norm`; their weights stay.
"""

import contextlib
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import keras
import tensorflow as tf

from tfdefense.training.nested_layers import collect_nested_layers, replace_calls

_CHANNELS = 3  # Axis of images [N, H, W, C].
# Where Keras has the models without code of their own: they call their layers as their graph says.
_MODELS = "keras.src.models."


@contextlib.contextmanager
def use_folded_batch_norm(networks: Iterable[keras.Layer]) -> Iterator[None]:
    """Fold the batch normalisations of `networks` in everything that is traced inside.

    Outputs equal those of Keras up to rounding. A pair is folded if the convolution has no activation
    and the functional graph has no other reader of its outputs. Layers of subclassed models and
    layers, whose code can call them otherwise, are unchanged. The networks must be called in
    inference mode.
    """
    norm_of = dict(_find_pairs(collect_nested_layers(networks)))

    def convolve(layer: Any, inputs: tf.Tensor) -> tf.Tensor:
        norm = norm_of[layer]
        scale = tf.math.rsqrt(tf.convert_to_tensor(norm.moving_variance) + norm.epsilon)
        if norm.scale:
            scale *= tf.convert_to_tensor(norm.gamma)
        offset = -tf.convert_to_tensor(norm.moving_mean) * scale
        if norm.center:
            offset += tf.convert_to_tensor(norm.beta)
        if layer.use_bias:
            offset += tf.cast(layer.bias, tf.float32) * scale
        dtype = layer.compute_dtype
        kernel = tf.cast(tf.cast(layer.kernel, tf.float32) * scale, dtype)
        return tf.nn.bias_add(layer.convolution_op(inputs, kernel), tf.cast(offset, dtype))

    with (
        replace_calls(list(norm_of), convolve),
        replace_calls(list(norm_of.values()), _pass_through),
    ):
        yield


def _pass_through(
    layer: Any, inputs: tf.Tensor, *, training: bool | None = None, mask: Any = None
) -> tf.Tensor:
    assert not (training and layer.trainable), f"{layer.name} belongs to a frozen network"
    del mask
    return inputs


def _find_pairs(layers: Sequence[Any]) -> Iterator[tuple[keras.Layer, keras.Layer]]:
    """Yield (convolution, batch normalisation) pairs that can be folded."""
    outputs, called_otherwise = set(), set()
    for layer in layers:
        if type(layer).__module__.startswith(_MODELS):
            found = getattr(layer, "outputs", None) or ()
            outputs |= {output._keras_history.operation for output in found}
        else:
            called_otherwise |= set(collect_nested_layers([layer])) - {layer}
    for norm in layers:
        layer = _convolution_before(norm)
        if layer is not None and layer not in outputs and not {layer, norm} & called_otherwise:
            yield layer, norm


def _convolution_before(norm: Any) -> Any:
    """Return the convolution whose outputs a batch normalisation alone reads; None if there is none."""
    if type(norm) is not keras.layers.BatchNormalization or norm.axis not in (-1, _CHANNELS):
        return None
    # Keras has no public description of the graph.
    parents = [parent for node in norm._inbound_nodes for parent in node.parent_nodes]
    layer: Any = parents[0].operation if len(parents) == 1 else None
    is_plain = (
        type(layer) is keras.layers.Conv2D
        and layer.data_format == "channels_last"
        and layer.activation is keras.activations.linear
        and len(layer._inbound_nodes) == len(layer._outbound_nodes) == 1
        and layer.variable_dtype == norm.variable_dtype == "float32"
    )
    return layer if is_plain else None
