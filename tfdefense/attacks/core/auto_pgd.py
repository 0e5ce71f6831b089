"""One run of Auto-PGD: gradient ascent with momentum that halves its own step size.

Croce, Hein, "Reliable Evaluation of Adversarial Robustness with an Ensemble of Diverse
Parameter-free Attacks", ICML 2020, section 3, algorithm 1.
"""

import dataclasses
from collections.abc import Callable
from typing import NamedTuple

import tensorflow as tf

from tfdefense.attacks.core import norms
from tfdefense.attacks.core.attack_result import AdversarialBatch
from tfdefense.attacks.core.cleverhans_backend import project_to_ball
from tfdefense.attacks.core.criteria import is_successful
from tfdefense.attacks.core.input_gradients import is_zero, loss_gradient
from tfdefense.attacks.core.losses import Loss
from tfdefense.attacks.core.masked_loop import masked_while_loop
from tfdefense.attacks.core.model import Model
from tfdefense.attacks.core.restarts import ScoredBatch

_MOMENTUM = 0.75  # alpha of algorithm 1.
_MIN_INCREASES = 0.75  # rho of condition 1.


@dataclasses.dataclass(frozen=True)
class AutoPGDConfig:
    """Settings of one run.

    Attributes:
      loss: `loss(labels, loss_targets)` returns the loss to increase, a function of logits.
      norm: "linf" or "l2".
      steps: number of steps, at least 1.
      stop_at_success: stop an image as soon as it fools the model.
    """

    loss: Callable[[tf.Tensor, tf.Tensor | None], Loss]
    norm: str
    steps: int
    stop_at_success: bool


class AscentBatch(NamedTuple):
    """Images to attack; tensors of N rows.

    Attributes:
      images: clean images, float32 [N, H, W, C].
      labels: true classes, int32 [N].
      loss_targets: target classes in the loss, int32 [N], or None.
      targets: target classes that count as success, int32 [N]; None means any wrong class.
      epsilon: radii, float32 [N, 1, 1, 1].
    """

    images: tf.Tensor
    labels: tf.Tensor
    loss_targets: tf.Tensor | None
    targets: tf.Tensor | None
    epsilon: tf.Tensor


class AscentState(NamedTuple):
    """State of the ascent of each image; tensors of N rows.

    Attributes:
      point, previous: the last two iterates x^(k) and x^(k-1).
      gradient: gradient of the loss at `point`.
      loss: loss after the last step; 0 before the first one, as in the published code, which thus
        counts the first step as an increase if the loss after it is positive.
      best, best_gradient, best_loss: x_max, the iterate of highest loss, with its gradient and
        loss.
      result, result_loss: the iterate to return: of the successful ones that of highest loss, or of
        all if none is successful.
      success: bool; True if any iterate was successful.
      step_size: eta, float32 [N, 1, 1, 1].
      increases: number of steps of this window in which the loss increased.
      was_halved: bool; True if the step size was halved at the end of the last window.
      loss_at_checkpoint: the best loss at the end of the last window.
      num_gradients: number of gradients computed so far.
    """

    point: tf.Tensor
    previous: tf.Tensor
    gradient: tf.Tensor
    loss: tf.Tensor
    best: tf.Tensor
    best_gradient: tf.Tensor
    best_loss: tf.Tensor
    result: tf.Tensor
    result_loss: tf.Tensor
    success: tf.Tensor
    step_size: tf.Tensor
    increases: tf.Tensor
    was_halved: tf.Tensor
    loss_at_checkpoint: tf.Tensor
    num_gradients: tf.Tensor


class _Evaluation(NamedTuple):
    """Loss, gradient and success at one iterate of each image."""

    loss: tf.Tensor
    gradient: tf.Tensor
    success: tf.Tensor


def run_auto_pgd(
    model: Model, batch: AscentBatch, start: tf.Tensor, config: AutoPGDConfig
) -> ScoredBatch:
    """Run algorithm 1 from `start`, which is first projected into the ball.

    Of the iterates that fool the model an image keeps that of highest loss; of all, if none does.
    The score is the loss of the kept iterate.
    """
    windows = tf.constant(window_ends(config.steps))

    def evaluate(point: tf.Tensor, batch: AscentBatch) -> _Evaluation:
        loss = config.loss(batch.labels, batch.loss_targets)
        losses, logits, gradient = loss_gradient(model, point, loss)
        return _Evaluation(losses, gradient, is_successful(logits, batch.labels, batch.targets))

    def advance(
        number: tf.Tensor, state: AscentState, batch: AscentBatch
    ) -> tuple[AscentState, tf.Tensor]:
        momentum = tf.where(number > 0, _MOMENTUM, 1.0)  # The first step, line 3, has none.
        point = _next_point(state, batch, config.norm, momentum)
        state = _keep_best(state, point, evaluate(point, batch))
        window = tf.gather(windows, number)
        state = AscentState(
            *tf.cond(
                window > 0,
                lambda: tuple(halve_step_if_stuck(state, window)),
                lambda: tuple(state),
            )
        )
        return state, ~state.success if config.stop_at_success else tf.ones_like(state.success)

    start = project_to_ball(start, batch.images, batch.epsilon, config.norm)
    first = evaluate(start, batch)
    counts = tf.zeros_like(batch.labels)
    state = masked_while_loop(
        advance,
        AscentState(
            point=start,
            previous=start,
            gradient=first.gradient,
            loss=tf.zeros_like(first.loss),
            best=start,
            best_gradient=first.gradient,
            best_loss=first.loss,
            result=start,
            result_loss=first.loss,
            success=first.success,
            step_size=2 * batch.epsilon,
            increases=counts,
            was_halved=tf.ones_like(first.success),
            loss_at_checkpoint=first.loss,
            num_gradients=counts + 1,
        ),
        ~first.success if config.stop_at_success else tf.ones_like(first.success),
        config.steps,
        batch,
    )
    adversarial = AdversarialBatch(
        state.result,
        queries=state.num_gradients,
        gradients=state.num_gradients,
        no_gradient=is_zero(first.gradient) & ~first.success,
    )
    return ScoredBatch(adversarial, state.result_loss, state.success)


def window_ends(steps: int) -> list[int]:
    """Return for each step the length of the window that ends with it, or 0.

    The windows end at the checkpoints w_j = p_j * steps, with p_0 = 0, p_1 = 0.22 and
    p_{j+1} = p_j + max(p_j - p_{j-1} - 0.03, 0.06).
    """
    windows = [0] * steps
    shortest, decrease = max(int(0.06 * steps), 1), max(int(0.03 * steps), 1)
    length = max(int(0.22 * steps), 1)
    end = length - 1
    while end < steps:
        windows[end] = length
        length = max(length - decrease, shortest)
        end += length
    return windows


def _next_point(
    state: AscentState, batch: AscentBatch, norm: str, momentum: tf.Tensor
) -> tf.Tensor:
    """Return x^(k+1): a projected gradient step (line 7), mixed with the last step (line 8)."""
    ahead = state.point + state.step_size * norms.steepest_direction(state.gradient, norm)
    ahead = project_to_ball(ahead, batch.images, batch.epsilon, norm)
    mixed = (
        state.point
        + momentum * (ahead - state.point)
        + (1 - momentum) * (state.point - state.previous)
    )
    return project_to_ball(mixed, batch.images, batch.epsilon, norm)


def _keep_best(state: AscentState, point: tf.Tensor, found: _Evaluation) -> AscentState:
    higher = found.loss > state.best_loss
    better = tf.where(found.success == state.success, found.loss > state.result_loss, found.success)
    return state._replace(
        point=point,
        previous=state.point,
        gradient=found.gradient,
        loss=found.loss,
        best=tf.where(norms.expand_per_image(higher), point, state.best),
        best_gradient=tf.where(norms.expand_per_image(higher), found.gradient, state.best_gradient),
        best_loss=tf.where(higher, found.loss, state.best_loss),
        result=tf.where(norms.expand_per_image(better), point, state.result),
        result_loss=tf.where(better, found.loss, state.result_loss),
        success=state.success | found.success,
        increases=state.increases + tf.cast(found.loss > state.loss, tf.int32),
        num_gradients=state.num_gradients + 1,
    )


def halve_step_if_stuck(state: AscentState, window: tf.Tensor) -> AscentState:
    """Halve the step size of images that are stuck, and return to their best iterate.

    It is called at the end of a window. An image is stuck if the loss increased in at most 3/4 of
    the steps of the window (condition 1), or if neither the step size nor the best loss has changed
    since the last window (condition 2).
    """
    most = _MIN_INCREASES * tf.cast(window, tf.float32)
    stuck = tf.cast(state.increases, tf.float32) <= most
    stuck |= ~state.was_halved & (state.loss_at_checkpoint >= state.best_loss)
    is_stuck = norms.expand_per_image(stuck)
    return state._replace(
        point=tf.where(is_stuck, state.best, state.point),
        gradient=tf.where(is_stuck, state.best_gradient, state.gradient),
        step_size=tf.where(is_stuck, state.step_size / 2, state.step_size),
        increases=tf.zeros_like(state.increases),
        was_halved=stuck,
        loss_at_checkpoint=state.best_loss,
    )
