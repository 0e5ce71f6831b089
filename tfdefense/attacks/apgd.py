"""Auto-PGD: PGD with momentum that halves its own step size, on three losses.

Croce, Hein, "Reliable Evaluation of Adversarial Robustness with an Ensemble of Diverse
Parameter-free Attacks", ICML 2020, sections 3 to 5.
"""

import abc
import dataclasses
from typing import ClassVar

import tensorflow as tf

from tfdefense.attacks.core import norms, per_image_random
from tfdefense.attacks.core.attack_cost import AttackCost
from tfdefense.attacks.core.attack_result import AdversarialBatch
from tfdefense.attacks.core.auto_pgd import AscentBatch, AutoPGDConfig, run_auto_pgd
from tfdefense.attacks.core.bounded_attack import BoundedAttack
from tfdefense.attacks.core.losses import Loss, cross_entropy
from tfdefense.attacks.core.model import Model
from tfdefense.attacks.core.restarts import ScoredBatch, best_of_restarts
from tfdefense.attacks.core.targets import most_likely_wrong_classes
from tfdefense.errors import require
from tfdefense.networks.losses import select_logits

_MIN_TARGETED_CLASSES = 4  # The targeted DLR loss reads the four highest logits.


@dataclasses.dataclass(frozen=True)
class APGD(BoundedAttack):
    """Base class of the three Auto-PGD attacks: algorithm 1 of the paper, from random starts.

    Attributes:
      steps: number of steps, at least 1.
      restarts: number of random starts, at least 1.
      stop_at_success: stop an image as soon as it fools the model. If it is off, each image keeps,
        of the iterates that fool the model, that of highest loss.
      seed: seed of the starts.

    Raises:
      UserError: an attribute is out of range.
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

    def largest_cost(self, image_shape: tuple[int, ...], num_classes: int) -> AttackCost:
        return AttackCost(self.restarts * (self.steps + 1), predictions=1)

    @abc.abstractmethod
    def loss(self, labels: tf.Tensor, targets: tf.Tensor | None) -> Loss:
        """Return the loss to increase."""

    def choose_loss_targets(
        self, model: Model, images: tf.Tensor, labels: tf.Tensor
    ) -> tf.Tensor | None:
        """Return the targets of the loss, int32 [N, T], that an untargeted attack uses in turn.

        None means an untargeted loss.
        """
        del model, images, labels
        return None

    def craft(
        self, model: Model, images: tf.Tensor, labels: tf.Tensor, targets: tf.Tensor | None
    ) -> AdversarialBatch:
        if targets is None:
            loss_targets = self.choose_loss_targets(model, images, labels)
        else:
            loss_targets = targets[:, None]
        turns = 1 if loss_targets is None else loss_targets.shape[1]
        config = AutoPGDConfig(self.loss, self.norm, self.steps, self.stop_at_success)

        def run_once(number: tf.Tensor, constants: tuple[AscentBatch, tf.Tensor]) -> ScoredBatch:
            batch, keys = constants
            if batch.loss_targets is not None:
                target = batch.loss_targets[:, number % turns]
                batch = batch._replace(
                    loss_targets=target, targets=None if targets is None else target
                )
            perturbation = _random_perturbation(keys, batch, number, self.norm)
            return run_auto_pgd(model, batch, batch.images + perturbation, config)

        batch = AscentBatch(images, labels, loss_targets, None, self.radius_per_image(images))
        found = best_of_restarts(
            run_once,
            self.restarts * turns,
            images,
            (batch, per_image_random.image_keys(images, self.seed)),
            stop_at_success=self.stop_at_success,
        )
        queries_for_targets = 1 if targets is None and loss_targets is not None else 0
        return found._replace(queries=found.queries + queries_for_targets)


@dataclasses.dataclass(frozen=True)
class APGDCE(APGD):
    """APGD on the cross-entropy of the label, or on minus that of the target."""

    name = "apgd_ce"

    def loss(self, labels: tf.Tensor, targets: tf.Tensor | None) -> Loss:
        if targets is None:
            return cross_entropy(labels)
        return lambda logits: -cross_entropy(targets)(logits)


@dataclasses.dataclass(frozen=True)
class APGDDLR(APGD):
    """APGD on the difference of logits ratio (DLR), which is invariant to the scale of the logits.

    Section 5 of the paper, equation (6): -(z_y - max_{i != y} z_i) / (z_1 - z_3), where z_1, z_2,
    ... are the logits from the highest to the lowest. Given targets t, equation (7): -(z_y - z_t) /
    (z_1 - (z_3 + z_4) / 2), for which the model needs four classes. With fewer classes the targeted
    variant is `APGDCE`.
    """

    name = "apgd_dlr"

    @property
    def min_classes(self) -> int:
        return 3

    def targeted_variant(self, num_classes: int) -> APGD:
        if num_classes >= _MIN_TARGETED_CLASSES:
            return self
        fields = dataclasses.fields(APGDCE)
        return APGDCE(**{field.name: getattr(self, field.name) for field in fields})

    def loss(self, labels: tf.Tensor, targets: tf.Tensor | None) -> Loss:
        def ratio(logits: tf.Tensor) -> tf.Tensor:
            highest = tf.math.top_k(logits, min(4, logits.shape[1])).values
            of_label = select_logits(logits, labels)
            if targets is None:
                is_right = tf.argmax(logits, axis=-1, output_type=tf.int32) == labels
                other = tf.where(is_right, highest[:, 1], highest[:, 0])
                return (other - of_label) / (highest[:, 0] - highest[:, 2] + 1e-12)
            require(
                logits.shape[1] >= _MIN_TARGETED_CLASSES,
                f"{self.name}: a model of {logits.shape[1]} classes given, at least"
                f" {_MIN_TARGETED_CLASSES} needed for targets.",
            )
            of_target = select_logits(logits, targets)
            spread = highest[:, 0] - (highest[:, 2] + highest[:, 3]) / 2
            return (of_target - of_label) / (spread + 1e-12)

        return ratio


@dataclasses.dataclass(frozen=True)
class APGDT(APGDDLR):
    """APGD on the targeted DLR loss, with each of the most likely wrong classes as target in turn.

    Any wrong class counts as success, whichever target found it.

    Attributes:
      target_classes: number of these classes, at least 1; AutoAttack uses 9.
    """

    name = "apgd_t"

    target_classes: int = 9

    def __post_init__(self) -> None:
        super().__post_init__()
        require(
            self.target_classes >= 1,
            f"{self.name}: target_classes {self.target_classes} given, at least 1 needed.",
        )

    @property
    def min_classes(self) -> int:
        return _MIN_TARGETED_CLASSES

    def largest_cost(self, image_shape: tuple[int, ...], num_classes: int) -> AttackCost:
        turns = min(self.target_classes, num_classes - 1)
        return super().largest_cost(image_shape, num_classes).times(turns)

    def choose_loss_targets(self, model: Model, images: tf.Tensor, labels: tf.Tensor) -> tf.Tensor:
        return most_likely_wrong_classes(model(images), labels, self.target_classes)


def _random_perturbation(
    keys: tf.Tensor, batch: AscentBatch, stream: tf.Tensor, norm: str
) -> tf.Tensor:
    """Return a random perturbation of norm epsilon, float32 [N, H, W, C]."""
    images = batch.images
    shape = [images.shape[i] or tf.shape(images)[i] for i in (1, 2, 3)]
    if norm == "linf":
        box = 2 * per_image_random.uniform(keys, shape, stream) - 1
        return batch.epsilon * box / norms.expand_per_image(norms.linf(box))
    direction = norms.steepest_direction(per_image_random.normal(keys, shape, stream), norm)
    return batch.epsilon * direction
