"""Losses of attacks: functions of logits, one value per image."""

from collections.abc import Callable

import tensorflow as tf

from tfdefense.networks.losses import cross_entropy as cross_entropy_of_labels
from tfdefense.networks.losses import select_logits

Loss = Callable[[tf.Tensor], tf.Tensor]
"""Function from logits float32 [N, K] to losses float32 [N]."""


def cross_entropy(labels: tf.Tensor) -> Loss:
    """Return the cross-entropy with `labels` as a function of logits."""
    return lambda logits: cross_entropy_of_labels(labels, logits)


def margin(labels: tf.Tensor, logits: tf.Tensor) -> tf.Tensor:
    """Return the logit of the label minus the highest other logit, float32 [N].

    It is negative for a misclassified image.
    """
    is_label = tf.one_hot(labels, tf.shape(logits)[1], on_value=True, off_value=False)
    of_label = select_logits(logits, labels)
    return of_label - tf.reduce_max(tf.where(is_label, logits.dtype.min, logits), axis=1)
