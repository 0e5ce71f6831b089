"""Losses of attacks: functions of logits, one value per image."""

from collections.abc import Callable

import tensorflow as tf

from tfdefense.networks import losses

Loss = Callable[[tf.Tensor], tf.Tensor]
"""Function from logits float32 [N, K] to losses float32 [N]."""


def cross_entropy(labels: tf.Tensor) -> Loss:
    """Return the cross-entropy with `labels` as a function of logits."""
    return lambda logits: losses.cross_entropy(labels, logits)


def margin(labels: tf.Tensor, logits: tf.Tensor) -> tf.Tensor:
    """Return the logit of the label minus the highest other logit, float32 [N].

    It is negative for a misclassified image.
    """
    is_label = tf.one_hot(labels, tf.shape(logits)[1], on_value=True, off_value=False)
    of_label = losses.logits_of_classes(logits, labels)
    return of_label - tf.reduce_max(tf.where(is_label, logits.dtype.min, logits), axis=1)
