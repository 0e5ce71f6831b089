"""Projected gradient descent that records what happens at every step, for checks."""

from typing import NamedTuple

import tensorflow as tf

from tfdefense.attacks.core import per_image_random
from tfdefense.attacks.core.cleverhans_backend import cross_entropy_gradient, project_to_ball
from tfdefense.attacks.core.criteria import is_misclassified
from tfdefense.attacks.core.input_gradients import is_zero
from tfdefense.attacks.core.losses import cross_entropy
from tfdefense.attacks.core.model import Model
from tfdefense.attacks.pgd import random_perturbation


class PGDParameters(NamedTuple):
    """Parameters of one PGD run. They are tensors, so that all runs share one compiled function.

    Attributes:
      epsilon: L-infinity radius, float32 [].
      step_size: length of a step, float32 [], in units of the images.
      steps: number of steps, int32 [].
      start: int32 []; 0 starts at the images, any other number at a random point of its own.
    """

    epsilon: tf.Tensor
    step_size: tf.Tensor
    steps: tf.Tensor
    start: tf.Tensor


class PGDTrace(NamedTuple):
    """Record of S steps on N images.

    Attributes:
      losses: cross-entropy before the first step and after each step, float32 [S + 1, N].
      fooled_at: index of the first of these points at which the image is misclassified, int32 [N];
        S + 1 if it never is.
      no_gradient: bool [N], whether the first gradient is zero at every pixel.
    """

    losses: tf.Tensor
    fooled_at: tf.Tensor
    no_gradient: tf.Tensor


def trace_pgd(
    model: Model, images: tf.Tensor, labels: tf.Tensor, parameters: PGDParameters
) -> PGDTrace:
    """Run PGD in the L-infinity ball, as `attacks.PGD` does, and record every step.

    The function is meant to be traced by `tf.function`.

    Args:
      model: maps images to logits.
      images: float32 [N, H, W, C] in [0, 1].
      labels: true classes int32 [N].
      parameters: radius, steps and start.
    """
    epsilon, step_size, steps, start = parameters
    loss = cross_entropy(labels)
    keys = per_image_random.image_keys(images, seed=0)
    change = random_perturbation(keys, images, start, tf.reshape(epsilon, [1, 1, 1, 1]), "linf")
    moved = tf.where(start == 0, images, project_to_ball(images + change, images, epsilon, "linf"))
    logits = model(moved)
    losses = tf.TensorArray(tf.float32, size=steps + 1).write(0, loss(logits))
    fooled_at = tf.where(is_misclassified(logits, labels), 0, steps + 1)
    no_gradient = tf.zeros_like(labels, tf.bool)

    def step(
        number: tf.Tensor,
        moved: tf.Tensor,
        losses: tf.TensorArray,
        fooled_at: tf.Tensor,
        no_gradient: tf.Tensor,
    ) -> tuple:
        gradient = cross_entropy_gradient(model, moved, labels, None)
        moved = project_to_ball(moved + step_size * tf.sign(gradient), images, epsilon, "linf")
        logits = model(moved)
        now = tf.where(is_misclassified(logits, labels), number + 1, steps + 1)
        no_gradient = tf.where(number == 0, is_zero(gradient), no_gradient)
        losses = losses.write(number + 1, loss(logits))
        return number + 1, moved, losses, tf.minimum(fooled_at, now), no_gradient

    _, _, losses, fooled_at, no_gradient = tf.while_loop(
        lambda number, *_: number < steps,
        step,
        (tf.constant(0), moved, losses, fooled_at, no_gradient),
    )
    return PGDTrace(losses.stack(), fooled_at, no_gradient)
