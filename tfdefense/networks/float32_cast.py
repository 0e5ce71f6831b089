"""Out of bfloat16, before a network gives what it has found."""

import tensorflow as tf


def widened(values: tf.Tensor) -> tf.Tensor:
    """bfloat16 as float32; anything else as it is."""
    return tf.cast(values, tf.float32) if values.dtype == tf.bfloat16 else values
