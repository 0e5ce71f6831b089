"""Auto-PGD: PGD with momentum that halves its own step, under three losses."""

import abc
import dataclasses
from typing import ClassVar

import tensorflow as tf

from tfdefense.attacks.core import norms, per_image_random
from tfdefense.attacks.core.attack import BoundedAttack, Crafted, Model
from tfdefense.attacks.core.auto_pgd import Target, climb
from tfdefense.attacks.core.gradients import Loss, cross_entropy
from tfdefense.attacks.core.restarts import best_of
from tfdefense.attacks.core.targets import most_likely_others
from tfdefense.errors import require


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
            target = Target(images, labels, aim, goal, epsilon)
            return climb(
                model, target, start, self.loss, self.norm, self.steps, self.stop_at_success
            )

        constants = (
            images,
            labels,
            aims,
            self.radii(images),
            per_image_random.image_keys(images, self.seed),
        )
        runs = self.restarts * turns
        crafted = best_of(one_run, runs, images, constants, self.stop_at_success)
        asked = 1 if untargeted and aims is not None else 0
        return crafted._replace(queries=crafted.queries + asked)


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
    the sorted logits; and, given targets t, equation (7): -(z_y - z_t) / (z_1 - (z_3 + z_4) / 2), for which a
    model of four classes is needed.
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
        box = 2 * per_image_random.uniform(keys, shape, stream) - 1
        return epsilon * box / norms.expand_per_image(norms.linf(box))
    return epsilon * norms.steepest_direction(per_image_random.normal(keys, shape, stream), norm)
