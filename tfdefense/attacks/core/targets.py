"""Target classes: the class that the model should predict for an adversarial image."""

import dataclasses
from typing import ClassVar

import tensorflow as tf

from tfdefense.attacks.core import per_image_random
from tfdefense.attacks.core.attack import Attack
from tfdefense.attacks.core.model import Model
from tfdefense.errors import unknown_name
from tfdefense.networks.losses import class_mask

TARGET_CHOICES = ("any", "random", "least_likely", "second")


@dataclasses.dataclass(frozen=True)
class TargetedAttack(Attack):
    """Attack that chooses the target class itself if the call gives none.

    Attributes:
      targets: target class of each image: "any" wrong class, a "random" wrong class, "least_likely"
        (the class of the lowest logit), or "second" (the most likely wrong class).
      seed: seed of the random numbers.

    Raises:
      UserError: `targets` is none of these.
    """

    takes_targets: ClassVar[bool] = True

    targets: str = "any"
    seed: int = 0

    def __post_init__(self) -> None:
        if self.targets not in TARGET_CHOICES:
            raise unknown_name(f"{self.name}: targets", self.targets, TARGET_CHOICES)

    def choose_targets(
        self, model: Model, images: tf.Tensor, labels: tf.Tensor
    ) -> tf.Tensor | None:
        if self.targets == "any":
            return None
        logits = model(images)
        if self.targets == "random":
            return random_wrong_classes(tf.shape(logits)[1], images, labels, self.seed)
        if self.targets == "least_likely":
            logits = -logits
        return most_likely_wrong_classes(logits, labels, 1)[:, 0]


def random_wrong_classes(
    num_classes: int | tf.Tensor, images: tf.Tensor, labels: tf.Tensor, seed: int
) -> tf.Tensor:
    """Return a random class that is not the label for each image, int32 [N]."""
    keys = per_image_random.image_keys(images, seed)
    offsets = per_image_random.integers(keys, num_classes - 1, 0)
    return (labels + 1 + offsets) % num_classes


def most_likely_wrong_classes(logits: tf.Tensor, labels: tf.Tensor, count: int) -> tf.Tensor:
    """Return the `count` classes of highest logit that are not the label, best first: int32 [N, T].

    T is `count`, or the number of classes minus one if that is smaller.
    """
    classes = logits.shape[1]
    others = tf.where(class_mask(logits, labels), logits.dtype.min, logits)
    return tf.math.top_k(others, min(count, classes - 1)).indices
