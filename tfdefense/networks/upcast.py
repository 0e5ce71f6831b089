"""Conversion from bfloat16 to float32 at the output of a network."""

import tensorflow as tf


def upcast_bfloat16(values: tf.Tensor) -> tf.Tensor:
    """Convert bfloat16 to float32; return any other dtype unchanged."""
    return tf.cast(values, tf.float32) if values.dtype == tf.bfloat16 else values
