"""Jacobian-based saliency map attack (JSMA): few pixels, two at a time.

Papernot et al., "The Limitations of Deep Learning in Adversarial Settings", EuroS&P 2016, algorithm
3, with theta = 1.
"""

import dataclasses
import math
from typing import NamedTuple

import tensorflow as tf

from tfdefense.attacks.core.attack_cost import AttackCost
from tfdefense.attacks.core.attack_result import AdversarialBatch
from tfdefense.attacks.core.criteria import is_successful
from tfdefense.attacks.core.input_gradients import class_gradients, loss_gradient
from tfdefense.attacks.core.losses import cross_entropy
from tfdefense.attacks.core.masked_loop import masked_while_loop
from tfdefense.attacks.core.model import Model
from tfdefense.attacks.core.salient_pair import most_salient_pair
from tfdefense.attacks.core.targets import TargetedAttack
from tfdefense.errors import require, unknown_name

# Mean number of steps to the target: 28 and 19 with theta = 0.3 (LeNet on MNIST, CIFAR-CNN on CIFAR-10;
# n = 20 and 12), 11 and 15 with theta = 1.
_TYPICAL_STEPS = 20


class _JSMAState(NamedTuple):
    """State of each image; tensors of N rows."""

    adversarial: tf.Tensor
    steps: tf.Tensor
    no_gradient: tf.Tensor


@dataclasses.dataclass(frozen=True)
class JSMA(TargetedAttack):
    """Changes the two most salient values of the image, step by step, until the target is reached.

    Let a_i be the gradient of the target's output at value i, and b_i that of the sum of all other
    outputs. Of the pairs (i, j) with a_i + a_j > 0 and b_i + b_j < 0, a step adds theta to the one
    that maximises -(a_i + a_j)(b_i + b_j). For a negative theta both signs are reversed. The search
    over all pairs is exact. If no pair qualifies, the two values of highest a - b change.

    Attributes:
      theta: amount added to both values, in [-1, 1] and not 0; the sum is clipped to [0, 1].
      gamma: largest fraction of the image's values that may change, in (0, 1]. The search stops as
        soon as fewer than two more values may change, even if |theta| < 1 and changed values could
        change further. Algorithm 3 of the paper counts every iteration as two changed values, so it
        stops no later.
      saliency: outputs whose gradients are a and b: "probabilities" or "logits" (JSMA-F and JSMA-Z
        of Carlini and Wagner 2017). Probabilities need half the backward passes and fewer pixels.
      targets: see `TargetedAttack`; "any" is not possible.

    Raises:
      UserError: an attribute is out of range.
    """

    name = "jsma"
    summary = "The Jacobian-based saliency map attack: as few pixels as possible, two at a time (Papernot et al. 2016)"

    theta: float = 1.0
    gamma: float = 0.145
    saliency: str = "probabilities"
    targets: str = "random"

    def __post_init__(self) -> None:
        super().__post_init__()
        require(
            self.targets != "any", "jsma: targets any given; random, second or least_likely needed."
        )
        if self.saliency not in ("probabilities", "logits"):
            raise unknown_name("jsma: saliency", self.saliency, ("probabilities", "logits"))
        require(
            -1 <= self.theta <= 1 and self.theta != 0,
            f"jsma: theta {self.theta} given, a number in [-1, 1] that is not 0 needed.",
        )
        require(0 < self.gamma <= 1, f"jsma: gamma {self.gamma} given, a number in (0, 1] needed.")

    @property
    def minimized_norm(self) -> str:
        return "l0"

    @property
    def _backward_passes(self) -> int:
        """Number of backward passes of a step."""
        return 1 if self.saliency == "probabilities" else 2

    def largest_cost(self, image_shape: tuple[int, ...], num_classes: int) -> AttackCost:
        # A step changes two values, a value ends after 1 / theta steps, and the last step ends it.
        steps = 1 + math.ceil(self.gamma * math.prod(image_shape) / 2) * math.ceil(
            1 / abs(self.theta)
        )
        return AttackCost(self._backward_passes * steps, predictions=1)

    def typical_cost(self, image_shape: tuple[int, ...], num_classes: int) -> float:
        largest = self.largest_cost(image_shape, num_classes)
        typical = self._backward_passes * _TYPICAL_STEPS
        return AttackCost(min(typical, largest.gradients), largest.predictions).in_gradients

    def craft(
        self, model: Model, images: tf.Tensor, labels: tf.Tensor, targets: tf.Tensor | None
    ) -> AdversarialBatch:
        values = images.shape[1] * images.shape[2] * images.shape[3]
        sign = 1.0 if self.theta > 0 else -1.0

        def step(
            number: tf.Tensor, state: _JSMAState, constants: tuple[tf.Tensor, ...]
        ) -> tuple[_JSMAState, tf.Tensor]:
            images, labels, targets = constants
            logits, towards, away = self._gradients(model, state.adversarial, targets)
            flat, clean = (
                tf.reshape(tensor, [-1, values]) for tensor in (state.adversarial, images)
            )
            is_free = flat < 1 if self.theta > 0 else flat > 0
            pair = most_salient_pair(sign * towards, sign * away, is_free)
            is_in_pair = tf.reduce_max(tf.one_hot(pair, values), axis=1)
            moved = tf.clip_by_value(flat + self.theta * is_in_pair, 0.0, 1.0)
            changed = tf.math.count_nonzero(flat != clean, axis=1, dtype=tf.float32)
            active = ~is_successful(logits, labels, targets) & tf.reduce_any(is_free, axis=1)
            active &= changed + 2 <= self.gamma * values
            moved = tf.where(active[:, None] & is_free, moved, flat)
            is_zero = tf.reduce_all(towards == 0, axis=1)
            no_gradient = tf.where(number == 0, is_zero, state.no_gradient)
            moved = tf.reshape(moved, tf.shape(images))
            return _JSMAState(moved, state.steps + 1, no_gradient), active

        counts = tf.zeros_like(labels)
        state = masked_while_loop(
            step,
            _JSMAState(images, counts, counts > 0),
            tf.ones_like(labels, tf.bool),
            # A step moves a value by theta; no value is further than 1 from the end.
            values * math.ceil(1 / abs(self.theta)),
            (images, labels, targets),
        )
        gradients = self._backward_passes * state.steps
        return AdversarialBatch(state.adversarial, state.steps, gradients, state.no_gradient)

    def _gradients(
        self, model: Model, images: tf.Tensor, targets: tf.Tensor
    ) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
        """Return the logits, a (towards the target) and -b (away from the others), [N, P]."""
        if self.saliency == "probabilities":
            # The other probabilities sum to one minus the target's, so b = -a. The gradient of the
            # logarithm differs from a by a positive factor and does not underflow.
            _, logits, towards = loss_gradient(
                model, images, lambda logits: -cross_entropy(targets)(logits)
            )
            away = towards
        else:

            def directions(logits: tf.Tensor) -> tf.Tensor:
                target = tf.one_hot(targets, tf.shape(logits)[1])
                return tf.stack([target, target - 1], axis=1)

            logits, gradients = class_gradients(model, images, directions)
            towards, away = tf.unstack(gradients, axis=1)
        flat = [tf.shape(images)[0], images.shape[1] * images.shape[2] * images.shape[3]]
        return logits, tf.reshape(towards, flat), tf.reshape(away, flat)
