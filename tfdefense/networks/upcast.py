"""Conversion to float32 at the output of a network."""

from typing import Any

import tensorflow as tf


def upcast_bfloat16(values: tf.Tensor) -> tf.Tensor:
    """Convert bfloat16 to float32; return any other dtype unchanged."""
    return tf.cast(values, tf.float32) if values.dtype == tf.bfloat16 else values


def cast_to_float32(values: Any) -> Any:
    """Convert a tensor or array of any floating-point dtype to float32; return others unchanged."""
    dtype = tf.as_dtype(values.dtype) if hasattr(values, "dtype") else None
    if dtype is None or dtype == tf.float32 or not dtype.is_floating:
        return values
    return tf.cast(values, tf.float32)
