"""Batch normalisation in one operation, or in bfloat16, in the steps of a training.

Keras composes it from a dozen operations in float32, also inside a bfloat16 network, and each of them
passes over the images. A training step with one operation is 1.3 to 1.7 times as fast
(`benchmarks/step_parts.py`). The layers are changed only inside `use_fused_batch_norm`, so a saved
network has plain Keras layers and loads without this library.
"""

import contextlib
from collections.abc import Iterable, Iterator
from typing import Any

import keras
import tensorflow as tf

from tfdefense.training.nested_layers import collect_nested_layers, replace_calls

_IMAGES_RANK = 4


@contextlib.contextmanager
def use_fused_batch_norm(networks: Iterable[keras.Layer]) -> Iterator[None]:
    """Make `networks` normalise images in one operation in everything that is traced inside.

    Results equal those of Keras up to rounding. Inference, such as that of a frozen classifier, stays
    in the dtype of the network. Unchanged are synchronised layers, whose statistics span several
    replicas, subclasses, other axes than the last, and masked calls.
    """
    norms = [layer for layer in collect_nested_layers(networks) if _is_plain(layer)]
    with replace_calls(norms, _normalize):
        yield


def _is_plain(layer: keras.Layer) -> bool:
    # Not subclasses, which may have other rules.
    return (
        type(layer) is keras.layers.BatchNormalization
        and layer.axis in (-1, _IMAGES_RANK - 1)
        and not layer.synchronized
        and not getattr(layer, "renorm", False)  # Older versions of Keras do not have it.
        and "call" not in vars(layer)  # Skips layers that another context replaces.
    )


def _normalize(
    layer: Any, inputs: tf.Tensor, *, training: bool | None = None, mask: Any = None
) -> tf.Tensor:
    if mask is not None or len(inputs.shape) != _IMAGES_RANK:
        return type(layer).call(layer, inputs, training=training, mask=mask)
    images, channels = tf.cast(inputs, layer.compute_dtype), [inputs.shape[-1]]
    scale = tf.convert_to_tensor(layer.gamma) if layer.scale else tf.ones(channels)
    offset = tf.convert_to_tensor(layer.beta) if layer.center else tf.zeros(channels)
    if not (training and layer.trainable):
        moments = (
            tf.convert_to_tensor(layer.moving_mean),
            tf.convert_to_tensor(layer.moving_variance),
        )
        return tf.nn.batch_normalization(images, *moments, offset, scale, layer.epsilon)
    outputs, mean, variance, *_ = tf.raw_ops.FusedBatchNormV3(
        x=images,
        scale=scale,
        offset=offset,
        mean=tf.zeros([0]),
        variance=tf.zeros([0]),
        epsilon=layer.epsilon,
        is_training=True,
    )
    # The operation divides the sum of squares by one less than the number of values; Keras does not.
    values = tf.cast(tf.size(inputs) // inputs.shape[-1], tf.float32)
    variance *= (values - 1) / values
    for moving, measured in ((layer.moving_mean, mean), (layer.moving_variance, variance)):
        moving.assign(layer.momentum * moving + (1 - layer.momentum) * measured)
    return outputs
