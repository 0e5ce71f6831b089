"""Criteria for the success of an attack, as functions of logits."""

import tensorflow as tf


def is_misclassified(logits: tf.Tensor, labels: tf.Tensor) -> tf.Tensor:
    """Return bool [N]: True if the predicted class is not the label."""
    return tf.argmax(logits, axis=-1, output_type=tf.int32) != labels


def is_successful(logits: tf.Tensor, labels: tf.Tensor, targets: tf.Tensor | None) -> tf.Tensor:
    """Return bool [N]: True if the prediction is the target, or, without targets, not the label."""
    if targets is None:
        return is_misclassified(logits, labels)
    return tf.argmax(logits, axis=-1, output_type=tf.int32) == targets
