"""Keras' dropout and batch norm, made to see the global batch where several replicas learn together.

By itself Keras' dropout draws one mask for all replicas, and its batch norm has each replica's part to
normalise over. What they are made into lasts only while a network learns, so that what is saved has Keras'
own layers, and opens without this library.
"""

import contextlib
import functools
from collections.abc import Iterable, Iterator

import keras
import tensorflow as tf

from tfdefense.training.layers import with_parts


@contextlib.contextmanager
def seen_by(networks: Iterable[keras.Layer], replicas: int) -> Iterator[None]:
    """Within it, what is traced of `networks` does on so many replicas what it would do on one.

    With one replica nothing is changed. Other layers that draw, such as `GaussianNoise`, stay as they are.
    """
    layers = [*with_parts(networks)] if replicas > 1 else []
    norms = [
        layer
        for layer in layers
        if isinstance(layer, keras.layers.BatchNormalization) and not layer.synchronized
    ]
    dropouts = [
        layer
        for layer in layers
        if type(layer) is keras.layers.Dropout and layer.rate and layer.noise_shape is None
    ]
    for layer in norms:
        layer.synchronized = True
    for layer in dropouts:
        layer.call = functools.partial(_drop_out, layer)
    try:
        yield
    finally:
        for layer in norms:
            layer.synchronized = False
        for layer in dropouts:
            del layer.call


def _drop_out(layer: keras.layers.Dropout, inputs: tf.Tensor, training: bool = False) -> tf.Tensor:
    """Of the mask that one replica would draw for the global batch, this replica's rows."""
    if not training:
        return inputs
    context = tf.distribute.get_replica_context()
    shape = tf.shape(inputs)
    mine = context.replica_id_in_sync_group * shape[0]
    everyone = tf.concat([shape[:1] * context.num_replicas_in_sync, shape[1:]], axis=0)
    seed = tf.cast(layer.seed_generator.next(), tf.int32)
    drawn = tf.random.stateless_uniform(everyone, seed, dtype=inputs.dtype)
    kept = drawn[mine : mine + shape[0]] >= layer.rate
    return tf.where(kept, inputs / (1 - layer.rate), tf.zeros_like(inputs))
