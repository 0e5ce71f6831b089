"""DeepFool: steps to the nearest of the linearised class boundaries.

Moosavi-Dezfooli, Fawzi, Frossard, "DeepFool: a Simple and Accurate Method to Fool Deep Neural
Networks", CVPR 2016, algorithm 2 ("l2") and section 3.3 ("linf").
"""

import dataclasses
from typing import NamedTuple

import tensorflow as tf

from tfdefense.attacks.carlini_wagner import CarliniWagnerL2
from tfdefense.attacks.core import norms
from tfdefense.attacks.core.attack import Attack
from tfdefense.attacks.core.attack_cost import AttackCost
from tfdefense.attacks.core.attack_result import AdversarialBatch
from tfdefense.attacks.core.criteria import is_misclassified
from tfdefense.attacks.core.input_gradients import class_gradients, is_zero
from tfdefense.attacks.core.masked_loop import masked_while_loop
from tfdefense.attacks.core.model import Model
from tfdefense.attacks.core.targets import most_likely_wrong_classes
from tfdefense.errors import require

# Distance that a step goes beyond the boundary. The published code adds 1e-4, which is many times the
# distance of an image that is closer to the boundary: the first steps add less.
_LEAST_BEYOND, _MOST_BEYOND = 1e-6, 1e-4
# Steps until the class changes, fitted to durations (`papers/cost.py`). Their mean is 11.5 with LeNet on
# MNIST (n = 20) and 0.8 with CIFAR-CNN on CIFAR-10 (n = 12).
_TYPICAL_STEPS = 3


class _DeepFoolState(NamedTuple):
    """State of each image; `total` is r_0 + ... + r_i. Tensors of N rows."""

    adversarial: tf.Tensor
    total: tf.Tensor
    steps: tf.Tensor
    no_gradient: tf.Tensor


@dataclasses.dataclass(frozen=True)
class DeepFool(Attack):
    """x_{i+1} = x_0 + (1 + overshoot) * (r_0 + ... + r_i), until the class changes.

    The model is linearised at x_i. r_i is the smallest step to the nearest boundary between the
    label y and a candidate class k (algorithm 2). With f = f_k - f_y and w its gradient, r = |f| /
    ||w||_2^2 * w for "l2", and r = |f| / ||w||_1 * sign(w) for "linf".

    Misclassified images are returned unchanged. Images that withstand `steps` steps are returned as
    they are after the last step.

    Attributes:
      norm: norm of the perturbation to minimise, "l2" or "linf".
      steps: largest number of steps, at least 1.
      overshoot: distance beyond the boundary, as a fraction of the perturbation; 0 or more.
      candidates: number of candidate classes, with the label: the most likely ones on the clean
        image; at least 2.

    Raises:
      UserError: an attribute is out of range.
    """

    name = "deepfool"
    summary = "Steps to the nearest linearised boundary (Moosavi-Dezfooli et al. 2016)"

    norm: str = "l2"
    steps: int = 50
    overshoot: float = 0.02
    candidates: int = 10

    def __post_init__(self) -> None:
        norms.check_norm(self.norm, self.name)
        for field, least in (("steps", 1), ("overshoot", 0), ("candidates", 2)):
            value = getattr(self, field)
            require(value >= least, f"{self.name}: {field} {value} given, {least} or more needed.")

    def targeted_variant(self, num_classes: int) -> Attack:
        del num_classes
        return CarliniWagnerL2()

    def largest_cost(self, image_shape: tuple[int, ...], num_classes: int) -> AttackCost:
        directions = min(self.candidates, num_classes) - 1
        return AttackCost(directions * self.steps, 1 + self.steps)

    def typical_cost(self, image_shape: tuple[int, ...], num_classes: int) -> float:
        largest = self.largest_cost(image_shape, num_classes)
        return largest.in_gradients * min(1.0, _TYPICAL_STEPS / self.steps)

    def craft(
        self, model: Model, images: tf.Tensor, labels: tf.Tensor, targets: tf.Tensor | None
    ) -> AdversarialBatch:
        def step(
            number: tf.Tensor, state: _DeepFoolState, constants: tuple[tf.Tensor, ...]
        ) -> tuple[_DeepFoolState, tf.Tensor]:
            images, labels, directions = constants
            logits, gradients = class_gradients(model, state.adversarial, lambda _: directions)
            leads = tf.einsum("nvk,nk->nv", directions, logits)
            # Where clipping to [0, 1] shortens every step, an image comes nearer to the boundary and
            # crosses it only if its steps aim well beyond.
            least_beyond = tf.minimum(
                _LEAST_BEYOND * 2.0 ** tf.cast(number, tf.float32), _MOST_BEYOND
            )
            smallest, gradient = step_to_nearest_boundary(leads, gradients, self.norm, least_beyond)
            total = state.total + smallest
            adversarial = tf.clip_by_value(images + (1 + self.overshoot) * total, 0.0, 1.0)
            no_gradient = tf.where(number == 0, is_zero(gradient), state.no_gradient)
            active = ~is_misclassified(model(adversarial), labels) & ~is_zero(gradient)
            return _DeepFoolState(adversarial, total, state.steps + 1, no_gradient), active

        logits = model(images)
        counts = tf.zeros_like(labels)
        directions = candidate_directions(logits, labels, self.candidates)
        state = masked_while_loop(
            step,
            _DeepFoolState(images, tf.zeros_like(images), counts, counts > 0),
            ~is_misclassified(logits, labels),
            self.steps,
            (images, labels, directions),
        )
        return AdversarialBatch(
            state.adversarial,
            queries=1 + 2 * state.steps,
            gradients=directions.shape[1] * state.steps,
            no_gradient=state.no_gradient,
        )


def candidate_directions(logits: tf.Tensor, labels: tf.Tensor, candidates: int) -> tf.Tensor:
    """Return e_k - e_y for the V most likely wrong classes k, float32 [N, V, K]; y is the label."""
    classes = logits.shape[1]
    likely = most_likely_wrong_classes(logits, labels, candidates - 1)
    return tf.one_hot(likely, classes) - tf.one_hot(labels, classes)[:, None]


def step_to_nearest_boundary(
    leads: tf.Tensor, gradients: tf.Tensor, norm: str, least_beyond: tf.Tensor
) -> tuple[tf.Tensor, tf.Tensor]:
    """Return the smallest step to any of V linearised boundaries, and the gradient that it follows.

    Args:
      leads: float32 [N, V], the logit of each candidate minus that of the label.
      gradients: float32 [N, V, H, W, C], the gradients of `leads`.
      norm: "l2" or "linf".
      least_beyond: smallest distance that a step goes beyond the boundary, float32 [].

    Returns:
      Two tensors float32 [N, H, W, C].
    """
    lengths = tf.stack([norms.dual_norm(g, norm) for g in tf.unstack(gradients, axis=1)], axis=1)
    distances = tf.math.divide_no_nan(tf.abs(leads), lengths)
    distances = tf.minimum(distances, distances.dtype.max)
    # A candidate with a gradient of zero is never the nearest, unless all are.
    distances = tf.where(lengths > 0, distances, distances.dtype.max)
    nearest = tf.argmin(distances, axis=1)
    gradient = tf.gather(gradients, nearest, batch_dims=1)
    distance = tf.gather(distances, nearest, batch_dims=1)
    # A little beyond the boundary. Otherwise an image exactly on it would not move.
    beyond = tf.clip_by_value(distance / 10, least_beyond, _MOST_BEYOND)
    distance = tf.where(is_zero(gradient), 0.0, distance + beyond)
    return norms.expand_per_image(distance) * norms.steepest_direction(gradient, norm), gradient
