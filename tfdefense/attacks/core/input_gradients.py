"""Gradients of losses and logits by the images, for deterministic and for randomised models."""

from collections.abc import Callable

import tensorflow as tf

from tfdefense.attacks.core.expectation import mean_over_draws
from tfdefense.attacks.core.losses import Loss
from tfdefense.attacks.core.model import Model
from tfdefense.errors import UserError


def loss_gradient(
    model: Model, images: tf.Tensor, loss: Loss
) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
    """Compute a loss and its gradient by the images: one forward and one backward pass.

    Args:
      model: the attacked model.
      images: float32 [N, H, W, C].
      loss: function from logits to losses [N], one per image.

    Returns:
      Losses [N], logits [N, K], and the gradient of each loss by its image [N, H, W, C].
    """

    def compute(model: Model) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
        with tf.GradientTape(watch_accessed_variables=False) as tape:
            tape.watch(images)
            logits = model(images)
            losses = loss(logits)
        return losses, logits, require_gradient(tape.gradient(losses, images))

    return mean_over_draws(model, compute)


def class_gradients(
    model: Model, images: tf.Tensor, directions: Callable[[tf.Tensor], tf.Tensor]
) -> tuple[tf.Tensor, tf.Tensor]:
    """Compute the gradients of V weighted sums of logits: one forward and V backward passes.

    Args:
      model: the attacked model.
      images: float32 [N, H, W, C].
      directions: function from logits to float32 [N, V, K], the weights of the V sums.

    Returns:
      Logits [N, K] and gradients [N, V, H, W, C].
    """

    def compute(model: Model) -> tuple[tf.Tensor, tf.Tensor]:
        with tf.GradientTape(persistent=True, watch_accessed_variables=False) as tape:
            tape.watch(images)
            logits = model(images)
        # Faster than `batch_jacobian`, which runs each convolution on V times the batch at once.
        gradients = [
            require_gradient(tape.gradient(logits, images, output_gradients=weights))
            for weights in tf.unstack(directions(logits), axis=1)
        ]
        return logits, tf.stack(gradients, axis=1)

    return mean_over_draws(model, compute)


def require_gradient(gradient: tf.Tensor | None) -> tf.Tensor:
    """Return `gradient` with 0 in place of NaN, and the image's largest value in place of infinity.

    Steps such as `sqrt` have them at black pixels. They would make images of NaN, which count as
    misclassified.

    Raises:
      UserError: it is None, because the model is not differentiable.
    """
    if gradient is None:
        raise UserError(
            "model: has no gradient by its images (a step that is not differentiable?). Declare one"
            " for that step with tfdefense.attacks.bpda, or attack with square, which needs none."
        )
    is_finite = tf.math.is_finite(gradient)
    finite = tf.where(is_finite, gradient, tf.zeros([], gradient.dtype))
    largest = tf.reduce_max(tf.abs(finite), axis=(1, 2, 3), keepdims=True)
    largest = tf.where(largest > 0, largest, tf.ones_like(largest))
    return tf.where(tf.math.is_inf(gradient), tf.sign(gradient) * largest, finite)


def is_zero(gradient: tf.Tensor) -> tf.Tensor:
    """Return bool [N]: True if the gradient of the image is zero at every pixel."""
    return tf.reduce_all(gradient == 0, axis=(1, 2, 3))
