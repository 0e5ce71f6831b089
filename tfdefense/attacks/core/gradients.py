"""Losses, logits and their gradients by the images, for plain and for randomised models."""

from collections.abc import Callable

import tensorflow as tf

from tfdefense.attacks.core.expectation import over_draws
from tfdefense.errors import UserError

Loss = Callable[[tf.Tensor], tf.Tensor]


def loss_gradient(
    model: Callable[[tf.Tensor], tf.Tensor], images: tf.Tensor, loss: Loss
) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
    """One forward and one backward pass.

    Args:
      model: images -> logits [N, K].
      images: float32 [N, H, W, C].
      loss: logits -> losses [N], one for each image.

    Returns:
      Losses [N], logits [N, K], and the losses' gradients by the images [N, H, W, C].
    """

    def once(model: Callable[[tf.Tensor], tf.Tensor]) -> tuple:
        with tf.GradientTape(watch_accessed_variables=False) as tape:
            tape.watch(images)
            logits = model(images)
            losses = loss(logits)
        return losses, logits, existing(tape.gradient(losses, images))

    return over_draws(model, once)


def class_gradients(
    model: Callable[[tf.Tensor], tf.Tensor],
    images: tf.Tensor,
    directions: Callable[[tf.Tensor], tf.Tensor],
) -> tuple[tf.Tensor, tf.Tensor]:
    """Gradients of several weighted sums of logits: one forward pass, and a backward pass for each.

    Args:
      model: images -> logits [N, K].
      images: float32 [N, H, W, C].
      directions: logits -> float32 [N, V, K], the weights of V sums.

    Returns:
      Logits [N, K] and gradients [N, V, H, W, C].
    """

    def once(model: Callable[[tf.Tensor], tf.Tensor]) -> tuple:
        with tf.GradientTape(persistent=True, watch_accessed_variables=False) as tape:
            tape.watch(images)
            logits = model(images)
        # Faster than `batch_jacobian`, whose convolutions run on V times the batch at once.
        gradients = [
            existing(tape.gradient(logits, images, output_gradients=weights))
            for weights in tf.unstack(directions(logits), axis=1)
        ]
        return logits, tf.stack(gradients, axis=1)

    return over_draws(model, once)


def existing(gradient: tf.Tensor | None) -> tf.Tensor:
    """`gradient`; raises `UserError` where the model has none at all."""
    if gradient is None:
        raise UserError(
            "model: has no gradient by its images (a step that is not differentiable?). Give that"
            " step one with tfdefense.attacks.bpda, or attack with square, which needs none."
        )
    return gradient


def is_zero(gradient: tf.Tensor) -> tf.Tensor:
    """bool [N]: zero at every pixel."""
    return tf.reduce_all(gradient == 0, axis=(1, 2, 3))


def cross_entropy(labels: tf.Tensor) -> Loss:
    """Logits -> cross-entropy [N]: high where the label is unlikely."""
    return lambda logits: tf.nn.sparse_softmax_cross_entropy_with_logits(labels, logits)


def margin(labels: tf.Tensor, logits: tf.Tensor) -> tf.Tensor:
    """Logit of the label less the highest other one: float32 [N], negative where misclassified."""
    is_label = tf.one_hot(labels, tf.shape(logits)[1], on_value=True, off_value=False)
    of_label = tf.gather(logits, labels, batch_dims=1)
    return of_label - tf.reduce_max(tf.where(is_label, logits.dtype.min, logits), axis=1)


def misclassified(logits: tf.Tensor, labels: tf.Tensor) -> tf.Tensor:
    """bool [N]: the predicted class is not the label."""
    return tf.argmax(logits, axis=-1, output_type=tf.int32) != labels


def fooled(logits: tf.Tensor, labels: tf.Tensor, targets: tf.Tensor | None) -> tf.Tensor:
    """bool [N]: classified as the target, or, without targets, as anything but the label."""
    if targets is None:
        return misclassified(logits, labels)
    return tf.argmax(logits, axis=-1, output_type=tf.int32) == targets
