"""Losses of attacks: functions of logits, one value per image."""

from collections.abc import Callable

import tensorflow as tf

Loss = Callable[[tf.Tensor], tf.Tensor]
"""Function from logits float32 [N, K] to losses float32 [N]."""


def cross_entropy(labels: tf.Tensor) -> Loss:
    """Return the cross-entropy with `labels` as a function of logits."""
    return lambda logits: tf.nn.sparse_softmax_cross_entropy_with_logits(labels, logits)


def margin(labels: tf.Tensor, logits: tf.Tensor) -> tf.Tensor:
    """Return the logit of the label minus the highest other logit, float32 [N].

    It is negative for a misclassified image.
    """
    is_label = tf.one_hot(labels, tf.shape(logits)[1], on_value=True, off_value=False)
    of_label = tf.gather(logits, labels, batch_dims=1)
    return of_label - tf.reduce_max(tf.where(is_label, logits.dtype.min, logits), axis=1)
