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

_SPATIAL = (
    keras.layers.SpatialDropout1D,
    keras.layers.SpatialDropout2D,
    keras.layers.SpatialDropout3D,
)


@contextlib.contextmanager
def seen_by(networks: Iterable[keras.Layer], replicas: int) -> Iterator[None]:
    """Within it, what is traced of `networks` does on so many replicas what it would do on one.

    With one replica nothing is changed. Other layers that draw, such as `GaussianNoise`, `AlphaDropout` or the dropout
    of `LSTM` and `Attention`, stay as they are, and so does batch norm of what is masked.
    """
    layers = with_parts(networks) if replicas > 1 else []
    norms = [
        layer
        for layer in layers
        if isinstance(layer, keras.layers.BatchNormalization) and not layer.synchronized
    ]
    dropouts = [
        layer
        for layer in layers
        # A subclass may drop by rules of its own; at rates of 0 and 1 nothing is drawn.
        if type(layer) in (keras.layers.Dropout, *_SPATIAL) and 0 < layer.rate < 1
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


def _drop_out(layer: keras.Layer, inputs: tf.Tensor, training: bool = False) -> tf.Tensor:
    """Of the mask that one replica would draw for the global batch, this replica's rows."""
    if not training:
        return inputs
    context = tf.distribute.get_replica_context()
    count = tf.shape(inputs)[0]
    first, *rest = _mask_shape(layer, inputs)
    rows = first is None
    drawn = tf.random.stateless_uniform(
        [count * context.num_replicas_in_sync if rows else first, *rest],
        # As Keras has it: its state is int64, and draws take int32.
        tf.cast(tf.math.floormod(layer.seed_generator.next(), tf.int32.max - 1), tf.int32),
        dtype=inputs.dtype,
    )
    mine = context.replica_id_in_sync_group * count
    kept = (drawn[mine : mine + count] if rows else drawn) >= layer.rate
    return tf.where(kept, inputs / (1 - layer.rate), tf.zeros_like(inputs))


def _mask_shape(layer: keras.Layer, inputs: tf.Tensor) -> list[int | tf.Tensor | None]:
    """Sizes of the mask; None for one row of it an example."""
    sizes, rank = tf.shape(inputs), inputs.shape.rank
    if isinstance(layer, _SPATIAL):
        channels = 1 if getattr(layer, "data_format", None) == "channels_first" else rank - 1
        given = [None if axis in (0, channels) else 1 for axis in range(rank)]
    else:
        given = [*(layer.noise_shape or [None] * rank)]
        given = [1] * (rank - len(given)) + given  # As it is broadcast.
    own = (sizes[axis] if given[axis] is None else given[axis] for axis in range(1, rank))
    return [given[0], *own]
