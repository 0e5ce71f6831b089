"""What a detector of strange images measures, and where it draws the line."""

from typing import Any

import keras
import numpy as np
import tensorflow as tf


@keras.saving.register_keras_serializable("tfdefense")
class Thresholds(keras.layers.Layer):
    """A threshold for each of `count` detectors, 1 until they are set.

    Call: `scores` float32 [N, count] -> the same, each over its threshold: refused is what is above 1.
    """

    def __init__(self, count: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.count = count
        self.values = self.add_weight((count,), initializer="ones", trainable=False, name="values")
        self.built = True

    def call(self, scores: tf.Tensor) -> tf.Tensor:
        return scores / self.values

    def set(self, values: np.ndarray) -> None:
        """Replaces them, float32 [count]."""
        self.values.assign(values)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "count": self.count}


def reconstruction_error(images: tf.Tensor, rebuilt: tf.Tensor, power: int) -> tf.Tensor:
    """Mean over pixels and channels of |x - ae(x)|^power, float32 [N]; Meng and Chen 2017, section 4.2.1."""
    return tf.reduce_mean(tf.abs(images - rebuilt) ** power, axis=[1, 2, 3])


def jensen_shannon(logits: tf.Tensor, other_logits: tf.Tensor) -> tf.Tensor:
    """Jensen-Shannon divergence of two softmaxes in nats, float32 [N] from logits [N, K]; Meng and
    Chen 2017, section 4.2.2."""
    log_p, log_q = tf.nn.log_softmax(logits), tf.nn.log_softmax(other_logits)
    log_mean = tf.reduce_logsumexp(tf.stack([log_p, log_q]), axis=0) - tf.math.log(2.0)

    def divergence(log_of: tf.Tensor) -> tf.Tensor:
        return tf.reduce_sum(tf.exp(log_of) * (log_of - log_mean), axis=-1)

    # Rounding may leave a hair below zero.
    return tf.nn.relu(0.5 * divergence(log_p) + 0.5 * divergence(log_q))
