"""Batch normalisation of frozen networks as a part of the convolutions before it.

In inference mode it multiplies each channel by a number and adds another one, and so can the kernel
and the bias of the convolution (Jacob et al. 2018, "Quantization and Training of Neural Networks",
section 3.2). That saves two passes over the images and as many over their gradients. The layers are
changed only inside `use_folded_batch_norm`; their weights stay.
"""

import contextlib
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import keras
import tensorflow as tf

from tfdefense.training.nested_layers import collect_nested_layers, replace_calls


@contextlib.contextmanager
def use_folded_batch_norm(networks: Iterable[keras.Layer]) -> Iterator[None]:
    """Make `networks` normalise inside their convolutions in everything that is traced inside.

    Outputs equal those of Keras up to rounding. A pair is folded if the convolution has no activation
    and only the normalisation reads it, as the graph of a functional model says. The networks must be
    called in inference mode.
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
    """Yield each convolution with the batch normalisation that alone reads its outputs."""
    last = {
        id(output._keras_history.operation)
        for layer in layers
        if isinstance(layer, keras.Model)
        for output in getattr(layer, "outputs", None) or ()
    }
    for norm in layers:
        if type(norm) is not keras.layers.BatchNormalization or norm.axis not in (-1, 3):
            continue
        # Keras has no public description of the graph.
        parents = [parent for node in norm._inbound_nodes for parent in node.parent_nodes]
        layer: Any = parents[0].operation if len(parents) == 1 else None
        if (
            type(layer) is keras.layers.Conv2D
            and layer.data_format == "channels_last"
            and layer.activation is keras.activations.linear
            and len(layer._inbound_nodes) == len(layer._outbound_nodes) == 1
            and id(layer) not in last
        ):
            yield layer, norm
