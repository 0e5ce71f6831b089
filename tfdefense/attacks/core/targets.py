"""Which class an adversarial image is to be taken for."""

import dataclasses
from typing import ClassVar

import tensorflow as tf

from tfdefense.attacks.core import per_image_random
from tfdefense.attacks.core.attack import Attack, Model
from tfdefense.errors import unknown_name

CHOICES = ("any", "random", "least_likely", "second")


@dataclasses.dataclass(frozen=True)
class TargetedAttack(Attack):
    """An attack that aims at a class of its choice where the call gives none.

    Attributes:
      targets: "any" wrong class will do; "random", a class drawn for each image; "least_likely",
        the class of the lowest logit; "second", the most likely wrong class.
      seed: fixes what is drawn.

    Raises:
      UserError: another word for `targets`.
    """

    takes_targets: ClassVar[bool] = True

    targets: str = "any"
    seed: int = 0

    def __post_init__(self) -> None:
        if self.targets not in CHOICES:
            raise unknown_name(f"{self.name}: targets", self.targets, CHOICES)

    def goal(self, model: Model, images: tf.Tensor, labels: tf.Tensor) -> tf.Tensor | None:
        if self.targets == "any":
            return None
        return choose(self.targets, model(images), images, labels, self.seed)


def choose(
    choice: str, logits: tf.Tensor, images: tf.Tensor, labels: tf.Tensor, seed: int = 0
) -> tf.Tensor:
    """A class that is not the label for each image: int32 [N]; see `TargetedAttack.targets`."""
    if choice == "random":
        classes = tf.shape(logits)[1]
        further = per_image_random.integers(
            per_image_random.image_keys(images, seed), classes - 1, 0
        )
        return (labels + 1 + further) % classes
    if choice == "least_likely":
        return most_likely_others(-logits, labels, 1)[:, 0]
    return most_likely_others(logits, labels, 1)[:, 0]


def most_likely_others(logits: tf.Tensor, labels: tf.Tensor, count: int) -> tf.Tensor:
    """The `count` classes of highest logit that are not the label, best first: int32 [N, T].

    T is `count`, or one less than there are classes.
    """
    classes = logits.shape[1]
    is_label = tf.one_hot(labels, classes, on_value=True, off_value=False)
    others = tf.where(is_label, logits.dtype.min, logits)
    return tf.math.top_k(others, min(count, classes - 1)).indices
