"""The scores and thresholds of MagNet's detectors."""

from typing import Any

import keras
import numpy as np
import tensorflow as tf


@keras.saving.register_keras_serializable("tfdefense", name="Thresholds")
class DetectorThresholds(keras.layers.Layer):
    """One threshold per detector, 1 until `assign`.

    Call: `scores` float32 [N, count] -> scores divided by their thresholds, float32 [N, count]. An
    image with a value above 1 is refused.

    Args:
      count: the number of detectors.
    """

    def __init__(self, count: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.count = count
        self.values = self.add_weight((count,), initializer="ones", trainable=False, name="values")
        self.built = True

    def call(self, scores: tf.Tensor) -> tf.Tensor:
        return scores / self.values

    def assign(self, values: np.ndarray) -> None:
        """Replace the thresholds by `values`, float32 [count], above 0."""
        self.values.assign(values)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "count": self.count}


def reconstruction_error(images: tf.Tensor, rebuilt: tf.Tensor, power: int) -> tf.Tensor:
    """Return the mean over pixels and channels of |x - ae(x)|^power, float32 [N].

    Meng and Chen 2017, section 4.2.1.

    Args:
      images: x, float32 [N, H, W, C].
      rebuilt: ae(x), the output of the autoencoder, of the same shape.
      power: p of the norm, 1 or 2.
    """
    return tf.reduce_mean(tf.abs(images - rebuilt) ** power, axis=[1, 2, 3])


def jensen_shannon_divergence(logits: tf.Tensor, other_logits: tf.Tensor) -> tf.Tensor:
    """Return the Jensen-Shannon divergence of two softmaxes in nats, float32 [N].

    Meng and Chen 2017, section 4.2.2.

    Args:
      logits: float32 [N, K].
      other_logits: float32 [N, K].
    """
    log_p, log_q = tf.nn.log_softmax(logits), tf.nn.log_softmax(other_logits)
    log_mean = tf.reduce_logsumexp(tf.stack([log_p, log_q]), axis=0) - tf.math.log(2.0)

    def divergence_from_mean(log_probabilities: tf.Tensor) -> tf.Tensor:
        terms = tf.exp(log_probabilities) * (log_probabilities - log_mean)
        return tf.reduce_sum(terms, axis=-1)

    # Rounding may leave a value slightly below zero.
    return tf.nn.relu(0.5 * divergence_from_mean(log_p) + 0.5 * divergence_from_mean(log_q))
