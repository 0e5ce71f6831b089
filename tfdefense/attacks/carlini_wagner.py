"""Carlini and Wagner's L2 attack: the smallest change that fools, by optimisation."""

import dataclasses
from typing import NamedTuple

import tensorflow as tf

from tfdefense.attacks.core import norms
from tfdefense.attacks.core.attack import Crafted, Model
from tfdefense.attacks.core.gradients import is_zero, loss_gradient, margin
from tfdefense.attacks.core.masked_loop import masked_while_loop
from tfdefense.attacks.core.targets import TargetedAttack
from tfdefense.errors import require, unknown_name

_BETA_1, _BETA_2, _TINY = 0.9, 0.999, 1e-8
_CHECKS = 10
_SMOOTHER = 0.999999
_HIGHEST_CONST = 1e10


class _Search(NamedTuple):
    """Where each image stands; tensors of N rows."""

    point: tf.Tensor
    momentum: tf.Tensor
    variance: tf.Tensor
    step: tf.Tensor
    search: tf.Tensor
    const: tf.Tensor
    lower: tf.Tensor
    upper: tf.Tensor
    found: tf.Tensor
    loss_at_check: tf.Tensor
    best: tf.Tensor
    best_size: tf.Tensor
    gradients: tf.Tensor
    blind: tf.Tensor


@dataclasses.dataclass(frozen=True)
class CarliniWagnerL2(TargetedAttack):
    """Minimises ||x' - x||_2^2 + c * max(margin(x') + confidence, 0) by Adam, for the best c.

    margin is the logit of the label less the highest other, or, aiming at a target, the highest
    other less the target's. c is searched for each image by itself: ten times as high until the
    image fools, ten times as low until it does not, then half-way between, in orders of magnitude.

    Carlini, Wagner, "Towards Evaluating the Robustness of Neural Networks", S&P 2017, section VI.A
    and, for the box, V.B.

    Attributes:
      confidence: by how much the margin must be overcome, in logits, 0 or more.
      searches: values of c tried, at least 1.
      steps: Adam's steps for each, at most, at least 1.
      learning_rate: Adam's first, above 0; it falls to zero over the steps, and is never more than what
        would move every value as far as the best image found is away.
      initial_const: the first c, above 0.
      abort_early: go on to the next c when a tenth of `steps` brought nothing.
      box: how x' is kept in [0, 1]: "projected" back after every step, or as a "tanh" of what is
        optimised, which is the paper's choice. At a pixel that is black or white the tanh is flat,
        and a hundred steps hardly move it.

    Raises:
      UserError: an attribute out of range.
    """

    name = "cw"
    summary = "Carlini and Wagner's smallest L2 perturbation (2017)"

    confidence: float = 0.0
    searches: int = 6
    steps: int = 60
    learning_rate: float = 0.03
    initial_const: float = 1.0
    abort_early: bool = True
    box: str = "projected"

    def __post_init__(self) -> None:
        super().__post_init__()
        for field, least in (("confidence", 0), ("searches", 1), ("steps", 1)):
            value = getattr(self, field)
            require(value >= least, f"{self.name}: {field} {value} given, {least} or more needed.")
        for field in ("learning_rate", "initial_const"):
            value = getattr(self, field)
            require(value > 0, f"{self.name}: {field} {value} given, a number above 0 needed.")
        if self.box not in ("projected", "tanh"):
            raise unknown_name(f"{self.name}: box", self.box, ("projected", "tanh"))

    def craft(
        self, model: Model, images: tf.Tensor, labels: tf.Tensor, targets: tf.Tensor | None
    ) -> Crafted:
        untargeted = targets is None

        def advance(number: tf.Tensor, state: _Search, constants: tuple) -> tuple:
            images, labels, targets = constants
            adversarial = self._image(state.point)
            hinge, _, slope = loss_gradient(
                model, adversarial, self._hinge(labels, None if untargeted else targets)
            )
            change = adversarial - images
            squared = tf.reduce_sum(tf.square(change), axis=(1, 2, 3))
            blind = tf.where(number == 0, is_zero(slope) & (hinge > 0), state.blind)
            state = state._replace(gradients=state.gradients + 1, blind=blind)
            state = _keep_better(state, adversarial, squared, hinge <= 0)
            descent = 2 * change + norms.expand_per_image(state.const) * slope
            state = self._adam(state, descent, adversarial)
            state = self._next_const(state, squared + state.const * hinge, images)
            return state, state.search < self.searches

        state = self._begin(images)
        hinge = self._hinge(labels, targets)(model(images))
        state = masked_while_loop(
            advance,
            state,
            hinge > 0,
            self.searches * self.steps,
            (images, labels, labels if untargeted else targets),
        )
        return Crafted(state.best, 1 + state.gradients, state.gradients, state.blind)

    def _hinge(self, labels: tf.Tensor, targets: tf.Tensor | None) -> tf.Tensor:
        def hinge(logits: tf.Tensor) -> tf.Tensor:
            ahead = margin(labels, logits) if targets is None else -margin(targets, logits)
            return tf.maximum(ahead + self.confidence, 0.0)

        return hinge

    def _point(self, images: tf.Tensor) -> tf.Tensor:
        """What is optimised, for given images."""
        return images if self.box == "projected" else tf.atanh(_SMOOTHER * (2 * images - 1))

    def _image(self, point: tf.Tensor) -> tf.Tensor:
        """The images that it stands for."""
        if self.box == "projected":
            return point
        # What black and white pixels begin at is inside by less than rounding.
        return tf.clip_by_value((tf.tanh(point) / _SMOOTHER + 1) / 2, 0.0, 1.0)

    def _begin(self, images: tf.Tensor) -> _Search:
        numbers = tf.zeros_like(images[:, 0, 0, 0])
        counts = tf.cast(numbers, tf.int32)
        return _Search(
            point=self._point(images),
            momentum=tf.zeros_like(images),
            variance=tf.zeros_like(images),
            step=counts,
            search=counts,
            const=numbers + self.initial_const,
            lower=numbers,
            upper=numbers + _HIGHEST_CONST,
            found=counts > 0,
            loss_at_check=numbers + numbers.dtype.max,
            best=images,
            best_size=numbers + numbers.dtype.max,
            gradients=counts,
            blind=counts > 0,
        )

    def _adam(self, state: _Search, descent: tf.Tensor, adversarial: tf.Tensor) -> _Search:
        if self.box == "tanh":
            descent *= (1 - tf.square(_SMOOTHER * (2 * adversarial - 1))) / (2 * _SMOOTHER)
        step = state.step + 1
        momentum = _BETA_1 * state.momentum + (1 - _BETA_1) * descent
        variance = _BETA_2 * state.variance + (1 - _BETA_2) * tf.square(descent)
        power = tf.cast(step, tf.float32)
        unbiased = norms.expand_per_image(tf.sqrt(1 - _BETA_2**power) / (1 - _BETA_1**power))
        # Adam's first step moves every value by the rate: no further than the best image is away.
        values = tf.cast(tf.size(descent[0]), tf.float32)
        rate = tf.minimum(self.learning_rate, tf.sqrt(state.best_size / values))
        rate *= 1 - tf.cast(state.step, tf.float32) / self.steps
        point = state.point - norms.expand_per_image(rate) * unbiased * momentum / (
            tf.sqrt(variance) + _TINY
        )
        if self.box == "projected":
            point = tf.clip_by_value(point, 0.0, 1.0)
        return state._replace(point=point, momentum=momentum, variance=variance, step=step)

    def _next_const(self, state: _Search, loss: tf.Tensor, images: tf.Tensor) -> _Search:
        """Images whose steps are used up, or no longer help, begin again with another c."""
        checked = state.step % max(self.steps // _CHECKS, 1) == 0
        ended = state.step >= self.steps
        if self.abort_early:
            ended |= checked & (loss > 0.9999 * state.loss_at_check)
        upper = tf.where(state.found, tf.minimum(state.upper, state.const), state.upper)
        lower = tf.where(state.found, state.lower, tf.maximum(state.lower, state.const))
        const = tf.where(upper < _HIGHEST_CONST, upper / 10, 10 * lower)
        const = tf.where((upper < _HIGHEST_CONST) & (lower > 0), tf.sqrt(lower * upper), const)
        again = norms.expand_per_image(ended)
        return state._replace(
            point=tf.where(again, self._point(images), state.point),
            momentum=tf.where(again, 0.0, state.momentum),
            variance=tf.where(again, 0.0, state.variance),
            step=tf.where(ended, 0, state.step),
            search=state.search + tf.cast(ended, tf.int32),
            const=tf.where(ended, const, state.const),
            lower=tf.where(ended, lower, state.lower),
            upper=tf.where(ended, upper, state.upper),
            found=state.found & ~ended,
            loss_at_check=tf.where(
                ended,
                loss.dtype.max,
                tf.where(checked, loss, state.loss_at_check),
            ),
        )


def _keep_better(
    state: _Search, adversarial: tf.Tensor, squared: tf.Tensor, fools: tf.Tensor
) -> _Search:
    better = fools & (squared < state.best_size)
    return state._replace(
        found=state.found | fools,
        best=tf.where(norms.expand_per_image(better), adversarial, state.best),
        best_size=tf.where(better, squared, state.best_size),
    )
