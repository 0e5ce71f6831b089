"""Auto-PGD: PGD with momentum that halves its own step, under three losses."""

import abc
import dataclasses
from typing import ClassVar, NamedTuple

import tensorflow as tf

from tfdefense.attacks import draws, norms
from tfdefense.attacks.active import while_active
from tfdefense.attacks.base import BoundedAttack, Crafted, Model
from tfdefense.attacks.cleverhans_parts import project, step_along
from tfdefense.attacks.gradients import (
    Loss,
    cross_entropy,
    fooled,
    is_zero,
    loss_gradient,
)
from tfdefense.attacks.restarts import best_of
from tfdefense.attacks.targets import most_likely_others
from tfdefense.errors import require

_MOMENTUM = 0.75
_SHARE_OF_INCREASES = 0.75


class _Climb(NamedTuple):
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


@dataclasses.dataclass(frozen=True)
class APGD(BoundedAttack):
    """What the three share: algorithm 1 of the paper, from random starts.

    Croce, Hein, "Reliable Evaluation of Adversarial Robustness with an Ensemble of Diverse
    Parameter-free Attacks", ICML 2020.

    Attributes:
      steps: at least 1.
      restarts: random starts, at least 1.
      stop_at_success: leave an image as soon as it fools the model. Otherwise each keeps, of its
        iterates that fool, the one of highest loss.
      seed: fixes the starts.

    Raises:
      UserError: an attribute out of range.
    """

    takes_targets: ClassVar[bool] = True

    steps: int = 100
    restarts: int = 1
    stop_at_success: bool = True
    seed: int = 0

    def __post_init__(self) -> None:
        super().__post_init__()
        for field in ("steps", "restarts"):
            value = getattr(self, field)
            require(value >= 1, f"{self.name}: {field} {value} given, at least 1 needed.")

    @abc.abstractmethod
    def loss(self, labels: tf.Tensor, targets: tf.Tensor | None) -> Loss:
        """What to climb."""

    def aims(self, model: Model, images: tf.Tensor, labels: tf.Tensor) -> tf.Tensor | None:
        """Classes int32 [N, T] to aim at in turn on the way to any wrong class; None: no aim."""
        del model, images, labels

    def craft(
        self, model: Model, images: tf.Tensor, labels: tf.Tensor, targets: tf.Tensor | None
    ) -> Crafted:
        untargeted = targets is None
        aims = self.aims(model, images, labels) if untargeted else targets[:, None]
        turns = 1 if aims is None else aims.shape[1]

        def one_run(number: tf.Tensor, constants: tuple) -> tuple:
            images, labels, aims, epsilon, keys = constants
            aim = None if aims is None else aims[:, number % turns]
            goal = None if untargeted else aim
            start = images + _start(keys, images, number // turns, epsilon, self.norm)
            return self._climb(model, images, labels, aim, goal, start, epsilon)

        radii = tf.broadcast_to(self.epsilon, tf.concat([tf.shape(images)[:1], [1, 1, 1]], axis=0))
        constants = (images, labels, aims, radii, draws.image_keys(images, self.seed))
        runs = self.restarts * turns
        crafted = best_of(one_run, runs, images, constants, self.stop_at_success)
        asked = 1 if untargeted and aims is not None else 0
        return crafted._replace(queries=crafted.queries + asked)

    def _climb(
        self,
        model: Model,
        images: tf.Tensor,
        labels: tf.Tensor,
        aims: tf.Tensor | None,
        targets: tf.Tensor | None,
        start: tf.Tensor,
        epsilon: tf.Tensor,
    ) -> tuple[Crafted, tf.Tensor, tf.Tensor]:
        """One run: what it crafted, its loss, and where it fooled."""
        windows = _windows(self.steps)

        def look(point: tf.Tensor, labels: tf.Tensor, aims: tf.Tensor, goal: tf.Tensor) -> tuple:
            loss, logits, slope = loss_gradient(model, point, self.loss(labels, aims))
            return loss, slope, fooled(logits, labels, goal)

        def advance(number: tf.Tensor, state: _Climb, constants: tuple) -> tuple:
            images, labels, aims, targets, epsilon = constants
            momentum = tf.where(number > 0, _MOMENTUM, 1.0)
            point = self._move(state, images, epsilon, momentum)
            loss, slope, fell = look(point, labels, aims, targets)
            state = _keep_best(state, point, loss, slope, fell)
            # The window that ends at this step, 0 where none does.
            window = tf.gather(tf.constant(windows), number)
            state = tf.cond(
                window > 0, lambda: _halve_where_stuck(state, window), lambda: tuple(state)
            )
            state = _Climb(*state)
            active = ~state.fell if self.stop_at_success else tf.ones_like(fell)
            return state, active

        start = project(start, images, epsilon, self.norm)
        loss, slope, fell = look(start, labels, aims, targets)
        counts = tf.zeros_like(labels)
        state = while_active(
            advance,
            _Climb(
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
                step_size=2 * epsilon,
                increases=counts,
                was_halved=tf.ones_like(fell),
                loss_at_checkpoint=loss,
                gradients=counts + 1,
            ),
            ~fell if self.stop_at_success else tf.ones_like(fell),
            self.steps,
            (images, labels, aims, targets, epsilon),
        )
        crafted = Crafted(state.result, state.gradients, state.gradients, is_zero(slope) & ~fell)
        return crafted, state.result_loss, state.fell

    def _move(
        self, state: _Climb, images: tf.Tensor, epsilon: tf.Tensor, momentum: tf.Tensor
    ) -> tf.Tensor:
        """The next iterate: a projected step, with what is left of the last one."""
        target = state.point + step_along(state.slope, state.step_size, self.norm)
        target = project(target, images, epsilon, self.norm)
        mixed = (
            state.point
            + momentum * (target - state.point)
            + (1 - momentum) * (state.point - state.previous)
        )
        return project(mixed, images, epsilon, self.norm)


@dataclasses.dataclass(frozen=True)
class APGDCE(APGD):
    """APGD on the cross-entropy of the label (or on minus that of the target)."""

    name = "apgd_ce"

    def loss(self, labels: tf.Tensor, targets: tf.Tensor | None) -> Loss:
        if targets is None:
            return cross_entropy(labels)
        return lambda logits: -cross_entropy(targets)(logits)


@dataclasses.dataclass(frozen=True)
class APGDDLR(APGD):
    """APGD on the difference of logits ratio, which no rescaling of the logits flattens.

    Section 5 of the paper, equation (6): -(z_y - max_{i != y} z_i) / (z_1 - z_3), z_1 >= z_2 >= ...
    the sorted logits; and, given targets t, equation (7): -(z_y - z_t) / (z_1 - (z_3 + z_4) / 2).
    """

    name = "apgd_dlr"
    least_classes: ClassVar[int] = 3

    def loss(self, labels: tf.Tensor, targets: tf.Tensor | None) -> Loss:
        def ratio(logits: tf.Tensor) -> tf.Tensor:
            highest = tf.math.top_k(logits, min(4, logits.shape[1])).values
            of_label = tf.gather(logits, labels, batch_dims=1)
            if targets is None:
                right = tf.argmax(logits, axis=-1, output_type=tf.int32) == labels
                other = tf.where(right, highest[:, 1], highest[:, 0])
                return (other - of_label) / (highest[:, 0] - highest[:, 2] + 1e-12)
            require(
                logits.shape[1] >= 4,
                f"{self.name}: aims at targets with four logits, the model has {logits.shape[1]}.",
            )
            other = tf.gather(logits, targets, batch_dims=1)
            spread = highest[:, 0] - (highest[:, 2] + highest[:, 3]) / 2
            return (other - of_label) / (spread + 1e-12)

        return ratio


@dataclasses.dataclass(frozen=True)
class APGDT(APGDDLR):
    """APGD on the targeted DLR loss, aimed in turn at the most likely wrong classes.

    Any wrong class counts as success, on whichever way it was found.

    Attributes:
      target_classes: so many of them, at least 1; AutoAttack's are 9.
    """

    name = "apgd_t"
    least_classes: ClassVar[int] = 4

    target_classes: int = 9

    def __post_init__(self) -> None:
        super().__post_init__()
        require(
            self.target_classes >= 1,
            f"{self.name}: target_classes {self.target_classes} given, at least 1 needed.",
        )

    def aims(self, model: Model, images: tf.Tensor, labels: tf.Tensor) -> tf.Tensor:
        return most_likely_others(model(images), labels, self.target_classes)


def _start(
    keys: tf.Tensor, images: tf.Tensor, stream: tf.Tensor, epsilon: tf.Tensor, norm: str
) -> tf.Tensor:
    """A random change of size epsilon."""
    shape = [images.shape[i] or tf.shape(images)[i] for i in (1, 2, 3)]
    if norm == "linf":
        box = 2 * draws.uniform(keys, shape, stream) - 1
        return epsilon * box / norms.per_image(norms.linf(box))
    return epsilon * norms.steepest(draws.normal(keys, shape, stream), norm)


def _windows(steps: int) -> list[int]:
    """For each step the length of the window that it closes, 0 where it closes none (section 3)."""
    windows = [0] * steps
    least, shrink = max(int(0.06 * steps), 1), max(int(0.03 * steps), 1)
    length, end = max(int(0.22 * steps), 1), -1
    while (end := end + length) < steps:
        windows[end] = length
        length = max(length - shrink, least)
    return windows


def _keep_best(
    state: _Climb, point: tf.Tensor, loss: tf.Tensor, slope: tf.Tensor, fell: tf.Tensor
) -> _Climb:
    higher = loss > state.best_loss
    better = tf.where(fell == state.fell, loss > state.result_loss, fell)
    return state._replace(
        point=point,
        previous=state.point,
        slope=slope,
        loss=loss,
        best=tf.where(norms.per_image(higher), point, state.best),
        best_slope=tf.where(norms.per_image(higher), slope, state.best_slope),
        best_loss=tf.where(higher, loss, state.best_loss),
        result=tf.where(norms.per_image(better), point, state.result),
        result_loss=tf.where(better, loss, state.result_loss),
        fell=state.fell | fell,
        increases=state.increases + tf.cast(loss > state.loss, tf.int32),
        gradients=state.gradients + 1,
    )


def _halve_where_stuck(state: _Climb, window: tf.Tensor) -> tuple:
    """At the end of a window: half the step, and back to the best point, where it oscillated.

    That is (section 3): the loss rose in at most 3/4 of the steps, or neither the step nor the best
    loss has changed since the last window.
    """
    most = _SHARE_OF_INCREASES * tf.cast(window, tf.float32)
    stuck = tf.cast(state.increases, tf.float32) <= most
    stuck |= ~state.was_halved & (state.loss_at_checkpoint >= state.best_loss)
    back = norms.per_image(stuck)
    return tuple(
        state._replace(
            point=tf.where(back, state.best, state.point),
            slope=tf.where(back, state.best_slope, state.slope),
            step_size=tf.where(back, state.step_size / 2, state.step_size),
            increases=tf.zeros_like(state.increases),
            was_halved=stuck,
            loss_at_checkpoint=state.best_loss,
        )
    )
