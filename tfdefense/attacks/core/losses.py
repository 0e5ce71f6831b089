"""Losses of attacks: functions of logits, one value per image."""

from collections.abc import Callable

import tensorflow as tf

from tfdefense.networks.losses import class_mask, select_logits
from tfdefense.networks.losses import cross_entropy as cross_entropy_of_labels

Loss = Callable[[tf.Tensor], tf.Tensor]
"""Function from logits float32 [N, K] to losses float32 [N]."""


def cross_entropy(labels: tf.Tensor) -> Loss:
    """Return the cross-entropy with `labels` as a function of logits."""
    return lambda logits: cross_entropy_of_labels(labels, logits)


def margin(labels: tf.Tensor, logits: tf.Tensor) -> tf.Tensor:
    """Return the logit of the label minus the highest other logit, float32 [N].

    It is negative for a misclassified image.
    """
    others = tf.where(class_mask(logits, labels), logits.dtype.min, logits)
    return select_logits(logits, labels) - tf.reduce_max(others, axis=1)
