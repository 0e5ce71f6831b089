"""Algorithm 1 of Auto-PGD: gradient ascent with momentum that halves its own step.

Croce, Hein, "Reliable Evaluation of Adversarial Robustness with an Ensemble of Diverse
Parameter-free Attacks", ICML 2020, section 3.
"""

from collections.abc import Callable
from typing import NamedTuple

import tensorflow as tf

from tfdefense.attacks.core import norms
from tfdefense.attacks.core.attack import Crafted, Model
from tfdefense.attacks.core.cleverhans_backend import project_to_ball
from tfdefense.attacks.core.gradients import Loss, fooled, is_zero, loss_gradient
from tfdefense.attacks.core.masked_loop import masked_while_loop

_MOMENTUM = 0.75
_SHARE_OF_INCREASES = 0.75

# (labels, aims) -> what to climb.
LossOf = Callable[[tf.Tensor, tf.Tensor | None], Loss]


class Target(NamedTuple):
    """What each image is to be, and how far it may go; tensors of N rows.

    Attributes:
      images, labels: clean, and true.
      aims: classes that the loss aims at, or None.
      targets: classes that count as success, or None where any wrong one does.
      epsilon: radii float32 [N, 1, 1, 1].
    """

    images: tf.Tensor
    labels: tf.Tensor
    aims: tf.Tensor | None
    targets: tf.Tensor | None
    epsilon: tf.Tensor


class Climb(NamedTuple):
    """Where each image stands; tensors of N rows."""

    point: tf.Tensor
    previous: tf.Tensor
    slope: tf.Tensor
    loss: tf.Tensor
    best: tf.Tensor
    best_slope: tf.Tensor
    best_loss: tf.Tensor
    result: tf.Tensor
    result_loss: tf.Tensor
    fell: tf.Tensor
    step_size: tf.Tensor
    increases: tf.Tensor
    was_halved: tf.Tensor
    loss_at_checkpoint: tf.Tensor
    gradients: tf.Tensor


def climb(
    model: Model,
    target: Target,
    start: tf.Tensor,
    loss_of: LossOf,
    norm: str,
    steps: int,
    stop_at_success: bool,
) -> tuple[Crafted, tf.Tensor, tf.Tensor]:
    """One run from `start`: what it crafted, the loss there [N], and where it fooled [N].

    An image keeps, of its iterates that fool, the one of highest loss; of all, if none does.
    """
    windows = tf.constant(checkpoints(steps))

    def look(point: tf.Tensor, target: Target) -> tuple:
        loss, logits, slope = loss_gradient(model, point, loss_of(target.labels, target.aims))
        return loss, slope, fooled(logits, target.labels, target.targets)

    def advance(number: tf.Tensor, state: Climb, target: Target) -> tuple:
        momentum = tf.where(number > 0, _MOMENTUM, 1.0)
        point = _move(state, target, norm, momentum)
        state = _keep_best(state, point, *look(point, target))
        window = tf.gather(windows, number)
        state = Climb(
            *tf.cond(
                window > 0, lambda: tuple(halve_where_stuck(state, window)), lambda: tuple(state)
            )
        )
        return state, ~state.fell if stop_at_success else tf.ones_like(state.fell)

    start = project_to_ball(start, target.images, target.epsilon, norm)
    loss, slope, fell = look(start, target)
    counts = tf.zeros_like(target.labels)
    state = masked_while_loop(
        advance,
        Climb(
            point=start,
            previous=start,
            slope=slope,
            loss=loss,
            best=start,
            best_slope=slope,
            best_loss=loss,
            result=start,
            result_loss=loss,
            fell=fell,
            step_size=2 * target.epsilon,
            increases=counts,
            was_halved=tf.ones_like(fell),
            loss_at_checkpoint=loss,
            gradients=counts + 1,
        ),
        ~fell if stop_at_success else tf.ones_like(fell),
        steps,
        target,
    )
    crafted = Crafted(state.result, state.gradients, state.gradients, is_zero(slope) & ~fell)
    return crafted, state.result_loss, state.fell


def checkpoints(steps: int) -> list[int]:
    """For each step the length of the window that it closes, 0 where it closes none."""
    windows = [0] * steps
    least, shrink = max(int(0.06 * steps), 1), max(int(0.03 * steps), 1)
    length, end = max(int(0.22 * steps), 1), -1
    while (end := end + length) < steps:
        windows[end] = length
        length = max(length - shrink, least)
    return windows


def _move(state: Climb, target: Target, norm: str, momentum: tf.Tensor) -> tf.Tensor:
    """The next iterate: a projected step, with what is left of the last one."""
    ahead = state.point + state.step_size * norms.steepest_direction(state.slope, norm)
    ahead = project_to_ball(ahead, target.images, target.epsilon, norm)
    mixed = (
        state.point
        + momentum * (ahead - state.point)
        + (1 - momentum) * (state.point - state.previous)
    )
    return project_to_ball(mixed, target.images, target.epsilon, norm)


def _keep_best(
    state: Climb, point: tf.Tensor, loss: tf.Tensor, slope: tf.Tensor, fell: tf.Tensor
) -> Climb:
    higher = loss > state.best_loss
    better = tf.where(fell == state.fell, loss > state.result_loss, fell)
    return state._replace(
        point=point,
        previous=state.point,
        slope=slope,
        loss=loss,
        best=tf.where(norms.expand_per_image(higher), point, state.best),
        best_slope=tf.where(norms.expand_per_image(higher), slope, state.best_slope),
        best_loss=tf.where(higher, loss, state.best_loss),
        result=tf.where(norms.expand_per_image(better), point, state.result),
        result_loss=tf.where(better, loss, state.result_loss),
        fell=state.fell | fell,
        increases=state.increases + tf.cast(loss > state.loss, tf.int32),
        gradients=state.gradients + 1,
    )


def halve_where_stuck(state: Climb, window: tf.Tensor) -> Climb:
    """At the end of a window: half the step, and back to the best point, where it oscillated.

    That is: the loss rose in at most 3/4 of the steps, or neither the step nor the best
    loss has changed since the last window.
    """
    most = _SHARE_OF_INCREASES * tf.cast(window, tf.float32)
    stuck = tf.cast(state.increases, tf.float32) <= most
    stuck |= ~state.was_halved & (state.loss_at_checkpoint >= state.best_loss)
    back = norms.expand_per_image(stuck)
    return state._replace(
        point=tf.where(back, state.best, state.point),
        slope=tf.where(back, state.best_slope, state.slope),
        step_size=tf.where(back, state.step_size / 2, state.step_size),
        increases=tf.zeros_like(state.increases),
        was_halved=stuck,
        loss_at_checkpoint=state.best_loss,
    )
