"""Activations with faster gradients than those of TensorFlow."""

import tensorflow as tf

LEAKY_SLOPE = 0.01


@tf.custom_gradient
def leaky_relu(features: tf.Tensor) -> tf.Tensor:
    """Return max(x, 0.01 x), whose second derivative is zero wherever it exists.

    `tf.nn.leaky_relu` computes this zero and propagates it through all convolutions before it. With
    a gradient penalty that takes a tenth of the training step. Here it is not computed.

    Args:
      features: float32, any shape; the result has the same shape.
    """

    def gradient(upstream: tf.Tensor) -> tf.Tensor:
        return tf.raw_ops.LeakyReluGrad(
            gradients=upstream, features=tf.stop_gradient(features), alpha=LEAKY_SLOPE
        )

    return tf.nn.leaky_relu(features, LEAKY_SLOPE), gradient


def silu(features: tf.Tensor) -> tf.Tensor:
    """Return x sigmoid(x), whose gradient is one operation in bfloat16 on the CPU.

    TensorFlow's gradient has six operations, each bound by memory; in bfloat16 they took half of the
    training step of a robust purifier (`benchmarks/step_parts.py`). XLA compiles them to one.
    Networks in float32 are also attacked, with batches of changing size, and XLA would compile for
    each size.

    Args:
      features: floating point, any shape; the result has the same shape and dtype.
    """
    is_compiled = tf.test.is_built_with_xla() and not tf.config.list_logical_devices("GPU")
    if features.dtype == tf.bfloat16 and is_compiled:
        return _silu_bfloat16(features)
    return tf.nn.silu(features)


@tf.custom_gradient
def _silu_bfloat16(features: tf.Tensor) -> tf.Tensor:
    def gradient(upstream: tf.Tensor) -> tf.Tensor:
        return _silu_gradient(features, upstream)

    return tf.nn.silu(features), gradient


@tf.function(jit_compile=True, autograph=False)
def _silu_gradient(features: tf.Tensor, upstream: tf.Tensor) -> tf.Tensor:
    # In float32 inside: the compiled loop is twice as fast so, and rounds once.
    values = tf.cast(features, tf.float32)
    gate = tf.sigmoid(values)
    slope = gate * (1.0 + values * (1.0 - gate))
    return tf.cast(slope * tf.cast(upstream, tf.float32), features.dtype)
