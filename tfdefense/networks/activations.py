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

    TensorFlow's gradient has six operations and is slow in bfloat16: with it, a training step of the
    robust purifier for colour takes 1.64 times as long (`benchmarks/step_parts.py`). XLA compiles
    them to one, for each shape anew. So batches of changing size keep TensorFlow's, as do float32
    networks, which are attacked with such batches. GPUs keep it because it is fast there.

    Args:
      features: floating point, any shape; the result has the same shape and dtype.
    """
    if features.dtype == tf.bfloat16 and features.shape.is_fully_defined() and _can_compile():
        return _silu_bfloat16(features)
    return tf.nn.silu(features)


def _can_compile() -> bool:
    return tf.test.is_built_with_xla() and not tf.config.list_logical_devices("GPU")


@tf.custom_gradient
def _silu_bfloat16(features: tf.Tensor) -> tf.Tensor:
    def gradient(upstream: tf.Tensor) -> tf.Tensor:
        return _silu_gradient(features, upstream)

    return tf.nn.silu(features), gradient


@tf.function(jit_compile=True, autograph=False)
def _silu_gradient(features: tf.Tensor, upstream: tf.Tensor) -> tf.Tensor:
    # In float32, the compiled loop is twice as fast and rounds only once.
    values = tf.cast(features, tf.float32)
    gate = tf.sigmoid(values)
    slope = gate * (1.0 + values * (1.0 - gate))
    return tf.cast(slope * tf.cast(upstream, tf.float32), features.dtype)
