"""Dropout and batch normalisation over the global batch when several replicas train together.

Without this, Keras' dropout draws the same mask on every replica, and its batch normalisation uses
the statistics of one replica's part of the batch. The layers are changed only inside
`use_global_batch`, so a saved network has plain Keras layers and loads without this library.
"""

import contextlib
from collections.abc import Iterable, Iterator

import keras
import tensorflow as tf

from tfdefense.training.nested_layers import collect_nested_layers, replace_calls
from tfdefense.training.row_draws import Rows, uniform_rows

_SPATIAL = (
    keras.layers.SpatialDropout1D,
    keras.layers.SpatialDropout2D,
    keras.layers.SpatialDropout3D,
)


@contextlib.contextmanager
def use_global_batch(networks: Iterable[keras.Layer], replicas: int) -> Iterator[None]:
    """Make `networks` use the global batch in everything that is traced inside this context.

    With several replicas they then compute the same as with one. With one replica nothing changes.
    Not covered: other random layers (`GaussianNoise`, `AlphaDropout`, the dropout inside `LSTM` and
    `Attention`) and batch normalisation of masked inputs.
    """
    layers = collect_nested_layers(networks) if replicas > 1 else []
    norms = [
        layer
        for layer in layers
        if isinstance(layer, keras.layers.BatchNormalization) and not layer.synchronized
    ]
    dropouts = [
        layer
        for layer in layers
        # Not subclasses, which may have other rules. Rates of 0 and 1 draw no random numbers.
        if type(layer) in (keras.layers.Dropout, *_SPATIAL) and 0 < layer.rate < 1
    ]
    for layer in norms:
        layer.synchronized = True
    try:
        with replace_calls(dropouts, _drop_out):
            yield
    finally:
        for layer in norms:
            layer.synchronized = False


def _drop_out(layer: keras.Layer, inputs: tf.Tensor, *, training: bool = False) -> tf.Tensor:
    """Apply this replica's rows of the mask that one replica would draw for the global batch."""
    if not training:
        return inputs
    context = tf.distribute.get_replica_context()
    count = tf.shape(inputs)[0]
    first, *rest = _mask_shape(layer, inputs)
    rows = Rows(context.replica_id_in_sync_group * count, count)
    # As in Keras: the seed state is int64, and the draw needs int32.
    seed = tf.cast(tf.math.floormod(layer.seed_generator.next(), tf.int32.max - 1), tf.int32)
    drawn = uniform_rows(rows if first is None else Rows(0, first), rest, seed, inputs.dtype)
    keep = drawn >= layer.rate
    return tf.where(keep, inputs / (1 - layer.rate), tf.zeros_like(inputs))


def _mask_shape(layer: keras.Layer, inputs: tf.Tensor) -> list[int | tf.Tensor | None]:
    """Return the shape of the mask; the first entry is None if each example has its own mask."""
    sizes, rank = tf.shape(inputs), inputs.shape.rank
    given: list[int | None]
    if isinstance(layer, _SPATIAL):
        channels = 1 if getattr(layer, "data_format", None) == "channels_first" else rank - 1
        given = [None if axis in (0, channels) else 1 for axis in range(rank)]
    else:
        noise_shape = list(layer.noise_shape or [None] * rank)
        given = [1] * (rank - len(noise_shape)) + noise_shape  # Broadcasting adds axes in front.
    rest = (sizes[axis] if given[axis] is None else given[axis] for axis in range(1, rank))
    return [given[0], *rest]
