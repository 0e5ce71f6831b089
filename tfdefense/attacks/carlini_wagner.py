"""Carlini and Wagner's L2 attack: the smallest perturbation that fools the model, by optimisation.

Carlini, Wagner, "Towards Evaluating the Robustness of Neural Networks", S&P 2017, section VI.A and,
for the box constraint, section V.B.
"""

import dataclasses
from typing import NamedTuple

import tensorflow as tf

from tfdefense.attacks.core import norms
from tfdefense.attacks.core.attack_cost import AttackCost
from tfdefense.attacks.core.attack_result import AdversarialBatch
from tfdefense.attacks.core.criteria import is_successful
from tfdefense.attacks.core.input_gradients import is_zero, loss_gradient
from tfdefense.attacks.core.losses import Loss, margin
from tfdefense.attacks.core.masked_loop import masked_while_loop
from tfdefense.attacks.core.model import Model
from tfdefense.attacks.core.targets import TargetedAttack
from tfdefense.errors import require, unknown_name

_BETA_1, _BETA_2, _ADAM_EPSILON = 0.9, 0.999, 1e-8
_CHECKS = 10  # Checks for an early stop within `steps` steps.
_TANH_SMOOTHER = 0.999999
_HIGHEST_CONST = 1e10
# Fraction of the steps before early stops, fitted to durations (`papers/cost.py`). Its mean is 0.7 to
# 0.8 with LeNet on MNIST (n = 20) and 0.5 with CIFAR-CNN on CIFAR-10 (n = 12).
_TYPICAL_FRACTION = 0.55


class _SearchState(NamedTuple):
    """State of the search of each image; tensors of N rows.

    Attributes:
      point: the optimised variable.
      momentum, variance, step: state of Adam.
      search: number of values of c that are finished.
      const, lower, upper: c, and the bounds of its search.
      found: bool; True if the present c has fooled the model.
      loss_at_check: loss at the last check for an early stop.
      best, best_size: smallest successful image, and the squared L2 norm of its perturbation.
      num_gradients: number of gradients computed so far.
    """

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
    num_gradients: tf.Tensor


@dataclasses.dataclass(frozen=True)
class CarliniWagnerL2(TargetedAttack):
    """Minimises ||x' - x||_2^2 + c * max(margin(x') + confidence, 0) by Adam, for the best c.

    The margin is the logit of the label minus the highest other logit or, given a target, the
    highest other logit minus that of the target. c is searched for each image separately:
    multiplied by ten until the image fools the model, divided by ten until it does not, then the
    geometric mean of the two bounds.

    Attributes:
      confidence: amount in logits by which the margin must be overcome, 0 or more.
      searches: number of values of c, at least 1.
      steps: largest number of Adam steps for each c, at least 1.
      learning_rate: initial learning rate of Adam, above 0. It falls linearly to zero over the
        steps. It is limited to the root mean square of the smallest perturbation found so far, and
        of the perturbation at which the loss, linearised at the image, is smallest.
      initial_const: first value of c, above 0. None chooses it for each image: twice the value at
        which the loss, linearised at the image, is smallest on the class boundary.
      abort_early: continue with the next c if a tenth of `steps` steps did not reduce the loss.
      box: method that keeps x' in [0, 1]: "projected", clipped after every step, or "tanh", the
        change of variables of the paper. At black and white pixels the tanh is flat: a hundred
        steps hardly move them.

    Raises:
      UserError: an attribute is out of range.
    """

    name = "cw"
    summary = "Carlini and Wagner's smallest L2 perturbation (2017)"

    confidence: float = 0.0
    searches: int = 6
    steps: int = 60
    learning_rate: float = 0.03
    initial_const: float | None = None
    abort_early: bool = True
    box: str = "projected"

    def __post_init__(self) -> None:
        super().__post_init__()
        for field, least in (("confidence", 0), ("searches", 1), ("steps", 1)):
            value = getattr(self, field)
            require(value >= least, f"{self.name}: {field} {value} given, {least} or more needed.")
        for field in ("learning_rate", "initial_const"):
            value = getattr(self, field)
            require(
                value is None or value > 0,
                f"{self.name}: {field} {value} given, a number above 0 needed.",
            )
        if self.box not in ("projected", "tanh"):
            raise unknown_name(f"{self.name}: box", self.box, ("projected", "tanh"))

    def largest_cost(self, image_shape: tuple[int, ...], num_classes: int) -> AttackCost:
        return AttackCost(1 + self.searches * self.steps, predictions=1)

    def typical_cost(self, image_shape: tuple[int, ...], num_classes: int) -> float:
        largest = self.largest_cost(image_shape, num_classes).in_gradients
        return _TYPICAL_FRACTION * largest if self.abort_early else largest

    def craft(
        self, model: Model, images: tf.Tensor, labels: tf.Tensor, targets: tf.Tensor | None
    ) -> AdversarialBatch:
        def step(
            number: tf.Tensor, state: _SearchState, constants: tuple[tf.Tensor, ...]
        ) -> tuple[_SearchState, tf.Tensor]:
            del number
            images, labels, targets, slope = constants
            adversarial = self._to_images(state.point)
            hinge, logits, gradient = loss_gradient(
                model, adversarial, self._hinge(labels, targets)
            )
            # Without confidence, a hinge of zero can also be a tie that the label wins.
            found = (hinge <= 0) & is_successful(logits, labels, targets)
            perturbation = adversarial - images
            squared = tf.reduce_sum(tf.square(perturbation), axis=(1, 2, 3))
            state = state._replace(num_gradients=state.num_gradients + 1)
            state = _keep_smaller(state, adversarial, squared, found)
            descent = 2 * perturbation + norms.expand_per_image(state.const) * gradient
            state = self._adam_step(state, descent, adversarial, slope)
            state = self._next_const(state, squared + state.const * hinge, images)
            return state, state.search < self.searches

        hinge, logits, gradient = loss_gradient(model, images, self._hinge(labels, targets))
        active = (hinge > 0) | ~is_successful(logits, labels, targets)
        slope = norms.l2(gradient)
        state = masked_while_loop(
            step,
            self._initial_state(images, self._first_const(hinge, slope)),
            active,
            self.searches * self.steps,
            (images, labels, targets, slope),
        )
        num_gradients = 1 + state.num_gradients
        no_gradient = is_zero(gradient) & active
        return AdversarialBatch(state.best, num_gradients, num_gradients, no_gradient)

    def _hinge(self, labels: tf.Tensor, targets: tf.Tensor | None) -> Loss:
        """Return max(margin + confidence, 0) as a function of logits: f_6 of section V.A."""

        def hinge(logits: tf.Tensor) -> tf.Tensor:
            lead = margin(labels, logits) if targets is None else -margin(targets, logits)
            return tf.maximum(lead + self.confidence, 0.0)

        return hinge

    def _to_point(self, images: tf.Tensor) -> tf.Tensor:
        """Return the optimised variable for given images."""
        if self.box == "projected":
            return images
        return tf.atanh(_TANH_SMOOTHER * (2 * images - 1))

    def _to_images(self, point: tf.Tensor) -> tf.Tensor:
        """Return the images for given values of the optimised variable."""
        if self.box == "projected":
            return point
        # Black and white pixels start inside the box by less than rounding.
        return tf.clip_by_value((tf.tanh(point) / _TANH_SMOOTHER + 1) / 2, 0.0, 1.0)

    def _first_const(self, hinge: tf.Tensor, slope: tf.Tensor) -> tf.Tensor:
        """Return the first c of each image, float32 [N]; `slope` is the length of the gradient.

        With hinge(x + d) = h - g . d, the loss ||d||^2 + c (h - g . d) is smallest at d = c g / 2.
        This d reaches the boundary, g . d = h, at c = 2 h / ||g||^2.
        """
        if self.initial_const is not None:
            return tf.fill(tf.shape(hinge), float(self.initial_const))
        const = 4 * tf.math.divide_no_nan(tf.math.divide_no_nan(hinge, slope), slope)
        return tf.where(const > 0, tf.minimum(const, _HIGHEST_CONST / 10), 1.0)

    def _initial_state(self, images: tf.Tensor, const: tf.Tensor) -> _SearchState:
        numbers = tf.zeros_like(images[:, 0, 0, 0])
        counts = tf.cast(numbers, tf.int32)
        return _SearchState(
            point=self._to_point(images),
            momentum=tf.zeros_like(images),
            variance=tf.zeros_like(images),
            step=counts,
            search=counts,
            const=const,
            lower=numbers,
            upper=numbers + _HIGHEST_CONST,
            found=counts > 0,
            loss_at_check=numbers + numbers.dtype.max,
            best=images,
            best_size=numbers + numbers.dtype.max,
            num_gradients=counts,
        )

    def _adam_step(
        self, state: _SearchState, descent: tf.Tensor, adversarial: tf.Tensor, slope: tf.Tensor
    ) -> _SearchState:
        if self.box == "tanh":
            descent *= (1 - tf.square(_TANH_SMOOTHER * (2 * adversarial - 1))) / (
                2 * _TANH_SMOOTHER
            )
        step = state.step + 1
        momentum = _BETA_1 * state.momentum + (1 - _BETA_1) * descent
        variance = _BETA_2 * state.variance + (1 - _BETA_2) * tf.square(descent)
        power = tf.cast(step, tf.float32)
        correction = norms.expand_per_image(tf.sqrt(1 - _BETA_2**power) / (1 - _BETA_1**power))
        # The first step of Adam moves every value by the learning rate. It should not move the
        # image further than the smallest perturbation found so far, and than the minimum of the
        # linearised loss, at d = c g / 2.
        distance = tf.where(slope > 0, state.const * slope / 2, slope.dtype.max)
        distance = tf.minimum(distance, tf.sqrt(state.best_size))
        num_values = tf.cast(tf.size(descent[0]), tf.float32)
        rate = tf.minimum(self.learning_rate, distance / tf.sqrt(num_values))
        rate *= 1 - tf.cast(state.step, tf.float32) / self.steps
        point = state.point - norms.expand_per_image(rate) * correction * momentum / (
            tf.sqrt(variance) + _ADAM_EPSILON
        )
        if self.box == "projected":
            point = tf.clip_by_value(point, 0.0, 1.0)
        return state._replace(point=point, momentum=momentum, variance=variance, step=step)

    def _next_const(self, state: _SearchState, loss: tf.Tensor, images: tf.Tensor) -> _SearchState:
        """Start images with another c that have used all steps or make no more progress."""
        is_check = state.step % max(self.steps // _CHECKS, 1) == 0
        ended = state.step >= self.steps
        if self.abort_early:
            ended |= is_check & (loss > 0.9999 * state.loss_at_check)
        upper = tf.where(state.found, tf.minimum(state.upper, state.const), state.upper)
        lower = tf.where(state.found, state.lower, tf.maximum(state.lower, state.const))
        const = tf.where(upper < _HIGHEST_CONST, upper / 10, 10 * lower)
        const = tf.where((upper < _HIGHEST_CONST) & (lower > 0), tf.sqrt(lower * upper), const)
        restart = norms.expand_per_image(ended)
        return state._replace(
            point=tf.where(restart, self._to_point(images), state.point),
            momentum=tf.where(restart, 0.0, state.momentum),
            variance=tf.where(restart, 0.0, state.variance),
            step=tf.where(ended, 0, state.step),
            search=state.search + tf.cast(ended, tf.int32),
            const=tf.where(ended, const, state.const),
            lower=tf.where(ended, lower, state.lower),
            upper=tf.where(ended, upper, state.upper),
            found=state.found & ~ended,
            loss_at_check=tf.where(
                ended,
                loss.dtype.max,
                tf.where(is_check, loss, state.loss_at_check),
            ),
        )


def _keep_smaller(
    state: _SearchState, adversarial: tf.Tensor, squared: tf.Tensor, success: tf.Tensor
) -> _SearchState:
    better = success & (squared < state.best_size)
    return state._replace(
        found=state.found | success,
        best=tf.where(norms.expand_per_image(better), adversarial, state.best),
        best_size=tf.where(better, squared, state.best_size),
    )
