"""Worst case over several attacks, image by image."""

import dataclasses
from collections.abc import Callable, Sequence
from typing import ClassVar, NamedTuple

import tensorflow as tf

from tfdefense.attacks.core import norms
from tfdefense.attacks.core.attack import Attack
from tfdefense.attacks.core.attack_cost import AttackCost, total_cost
from tfdefense.attacks.core.attack_result import AdversarialBatch
from tfdefense.attacks.core.criteria import is_successful
from tfdefense.attacks.core.masked_loop import masked_while_loop
from tfdefense.attacks.core.model import Model
from tfdefense.attacks.core.radius import with_epsilon
from tfdefense.errors import require


@dataclasses.dataclass(frozen=True)
class StrongestOf(Attack):
    """Several attacks in turn, each only on the images that withstand the attacks before it.

    An image that withstands all attacks is returned unchanged. The attacks should have the same
    epsilon: one without epsilon (DeepFool, JSMA, C&W) fools the model on almost every image, at any
    distance.

    Attributes:
      attacks: at least one attack; the epsilon of each is a number.
      stop_at_success: stop an image as soon as it fools the model. Without it, attacks that have this
        attribute go on to their last step: that is stronger against randomised models, where an image
        on the border of a class fools only half of the draws.

    Raises:
      UserError: there is no attack, or one has a radius per image.
    """

    name = "strongest_of"
    takes_targets: ClassVar[bool] = True
    has_parts: ClassVar[bool] = True

    attacks: Sequence[Attack] = ()
    stop_at_success: bool = True

    def __post_init__(self) -> None:
        object.__setattr__(self, "attacks", tuple(self.attacks))
        require(len(self.attacks) > 0, f"{self.name}: no attacks given, at least one needed.")
        for attack in self.attacks:
            require(
                not norms.has_radius_per_image(getattr(attack, "epsilon", None)),
                f"{self.name}: {attack.name} with an epsilon for each image given, one number"
                " needed.",
            )

    @property
    def min_classes(self) -> int:
        return max(attack.min_classes for attack in self.attacks)

    @property
    def min_side(self) -> int:
        return max(attack.min_side for attack in self.attacks)

    @property
    def revision(self) -> str:
        return "-".join([super().revision, *(attack.revision for attack in self.attacks)])

    def targeted_variant(self, num_classes: int) -> "StrongestOf | None":
        parts = [attack.targeted_variant(num_classes) for attack in self.attacks]
        fit = [part for part in parts if part is not None]
        return dataclasses.replace(self, attacks=fit) if len(fit) == len(parts) else None

    def largest_cost(self, image_shape: tuple[int, ...], num_classes: int) -> AttackCost | None:
        costs = [attack.largest_cost(image_shape, num_classes) for attack in self.attacks]
        return total_cost([AttackCost(0, 1 + len(costs)), *costs])

    def craft(
        self, model: Model, images: tf.Tensor, labels: tf.Tensor, targets: tf.Tensor | None
    ) -> AdversarialBatch:
        batch = BatchInTurn(images, labels, targets, epsilon=None)
        attacks = [set_stop_at_success(each, value=self.stop_at_success) for each in self.attacks]
        return attack_in_turn(attacks, model, batch, model(images))


def enable_stop_at_success(attack: Attack) -> Attack:
    """Return `attack` with `stop_at_success` on, if it has that attribute.

    The attack is then strongest against the attacked model itself, because an image keeps its
    success.
    """
    return set_stop_at_success(attack, value=True)


def set_stop_at_success(attack: Attack, *, value: bool) -> Attack:
    """Return `attack` with `stop_at_success` on or off, if it has that attribute."""
    if hasattr(attack, "stop_at_success"):
        return dataclasses.replace(attack, **{"stop_at_success": value})
    return attack


class BatchInTurn(NamedTuple):
    """Images to attack; tensors of N rows.

    Attributes:
      images: clean images, float32 [N, H, W, C].
      labels: true classes, int32 [N].
      targets: target classes, int32 [N]; None means any wrong class.
      epsilon: radii of all attacks, float32 [N, 1, 1, 1]; None means the radius of each attack.
    """

    images: tf.Tensor
    labels: tf.Tensor
    targets: tf.Tensor | None
    epsilon: tf.Tensor | None


class _StateInTurn(NamedTuple):
    """Result so far; tensors of N rows.

    Attributes:
      has_gradient: bool; True if an attack fools the image or computes a gradient for it that is
        not zero.
      adversarial, success, queries, gradients, surrogate: as in `AttackResult`.
    """

    adversarial: tf.Tensor
    success: tf.Tensor
    queries: tf.Tensor
    gradients: tf.Tensor
    has_gradient: tf.Tensor
    surrogate: tf.Tensor


def attack_in_turn(
    attacks: Sequence[Attack], model: Model, batch: BatchInTurn, clean_logits: tf.Tensor
) -> AdversarialBatch:
    """Run each attack on the images that withstand the attacks before it.

    Args:
      attacks: the attacks, in order.
      model: the attacked model.
      batch: the images.
      clean_logits: logits of the clean images, [N, K].
    """

    def attempt(attack: Attack) -> Callable[..., tuple[_StateInTurn, tf.Tensor]]:
        def step(
            number: tf.Tensor, state: _StateInTurn, batch: BatchInTurn
        ) -> tuple[_StateInTurn, tf.Tensor]:
            del number
            images, labels, targets, epsilon = batch
            bounded = attack if epsilon is None else with_epsilon(attack, epsilon)
            found = bounded.craft_in_graph(model, images, labels, targets)
            success = is_successful(model(found.images), labels, targets)
            state = _StateInTurn(
                tf.where(norms.expand_per_image(success), found.images, state.adversarial),
                success,
                state.queries + found.queries + 1,
                state.gradients + found.gradients,
                state.has_gradient | success | _has_gradient(found),
                tf.where(success, found.surrogate, state.surrogate),
            )
            return state, ~success

        return step

    counts = tf.zeros_like(batch.labels)
    success = is_successful(clean_logits, batch.labels, batch.targets)
    state = _StateInTurn(batch.images, success, counts + 1, counts, success, counts - 1)
    for attack in attacks:
        state = masked_while_loop(attempt(attack), state, ~state.success, 1, batch)
    no_gradient = (state.gradients > 0) & ~state.has_gradient
    return AdversarialBatch(
        state.adversarial, state.queries, state.gradients, no_gradient, state.surrogate
    )


def _has_gradient(found: AdversarialBatch) -> tf.Tensor:
    """Return bool, [N] or one value; False if there is no gradient or the first one is zero."""
    is_computed = tf.convert_to_tensor(found.gradients) > 0
    return is_computed & tf.logical_not(found.no_gradient)
