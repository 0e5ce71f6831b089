"""Projected gradient descent, watched at every step: for checks of attacks, not for attacking."""

from typing import NamedTuple

import tensorflow as tf

from tfdefense.attacks.core import per_image_random
from tfdefense.attacks.core.attack import Model
from tfdefense.attacks.core.cleverhans_backend import cross_entropy_gradient, project_to_ball
from tfdefense.attacks.core.gradients import cross_entropy, is_zero, misclassified
from tfdefense.attacks.pgd import random_perturbation


class PGDTrace(NamedTuple):
    """What happened to N images in S steps.

    Attributes:
      losses: cross-entropy before the first step and after each, float32 [S + 1, N].
      fell_at: the first of those at which the image was misclassified, int32 [N]; S + 1 if it never was.
      no_gradient: bool [N]: the first gradient was zero at every pixel.
    """

    losses: tf.Tensor
    fell_at: tf.Tensor
    no_gradient: tf.Tensor


def trace_pgd(
    model: Model,
    images: tf.Tensor,
    labels: tf.Tensor,
    epsilon: tf.Tensor,
    step_size: tf.Tensor,
    steps: tf.Tensor,
    start: tf.Tensor,
) -> PGDTrace:
    """PGD in the L-infinity ball, as in `attacks.PGD`, with all that tells whether it works.

    To be traced into a `tf.function`; whatever a check varies is a tensor, so that it is compiled once.

    Args:
      model: images -> logits.
      images, labels: float32 [N, H, W, C] in [0, 1]; int32 [N].
      epsilon, step_size: float32 [], the radius and the length of a step, in units of the images.
      steps: int32 [].
      start: int32 [], 0 for the images themselves, another number for a random start of its own.
    """
    loss = cross_entropy(labels)
    keys = per_image_random.image_keys(images, seed=0)
    change = random_perturbation(keys, images, start, tf.reshape(epsilon, [1, 1, 1, 1]), "linf")
    moved = tf.where(start == 0, images, project_to_ball(images + change, images, epsilon, "linf"))
    logits = model(moved)
    losses = tf.TensorArray(tf.float32, size=steps + 1).write(0, loss(logits))
    fell_at = tf.where(misclassified(logits, labels), 0, steps + 1)
    blind = tf.zeros_like(labels, tf.bool)

    def step(
        number: tf.Tensor,
        moved: tf.Tensor,
        losses: tf.TensorArray,
        fell_at: tf.Tensor,
        blind: tf.Tensor,
    ) -> tuple:
        slope = cross_entropy_gradient(model, moved, labels, None)
        moved = project_to_ball(moved + step_size * tf.sign(slope), images, epsilon, "linf")
        logits = model(moved)
        now = tf.where(misclassified(logits, labels), number + 1, steps + 1)
        blind = tf.where(number == 0, is_zero(slope), blind)
        losses = losses.write(number + 1, loss(logits))
        return number + 1, moved, losses, tf.minimum(fell_at, now), blind

    _, _, losses, fell_at, blind = tf.while_loop(
        lambda number, *_: number < steps, step, (tf.constant(0), moved, losses, fell_at, blind)
    )
    return PGDTrace(losses.stack(), fell_at, blind)
