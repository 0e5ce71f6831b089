"""What an attack is: hyperparameters in the constructor, data in the call."""

import abc
import dataclasses
from collections.abc import Callable
from typing import ClassVar

import tensorflow as tf

from tfdefense.errors import require

Model = Callable[[tf.Tensor], tf.Tensor]


@dataclasses.dataclass(frozen=True)
class Attack(abc.ABC):
    """An untargeted attack: `attack(model, images, labels) -> images`.

    Call:
      model: any callable from images float32 [N, H, W, C] in [0, 1] to logits float32 [N, K]. Keep
        handing over the same object: each new one is traced anew.
      images: float32 [N, H, W, C] in [0, 1].
      labels: integer [N], the true classes.
      Returns float32 [N, H, W, C] in [0, 1].

    An attack is traceable by `tf.function` and works on the whole batch at once. What it makes of
    one image does not depend on the others in the batch.
    """

    name: ClassVar[str]

    def __call__(self, model: Model, images: tf.Tensor, labels: tf.Tensor) -> tf.Tensor:
        return self.craft(
            model, tf.convert_to_tensor(images, tf.float32), tf.convert_to_tensor(labels)
        )

    @abc.abstractmethod
    def craft(self, model: Model, images: tf.Tensor, labels: tf.Tensor) -> tf.Tensor:
        """What a subclass defines: the call, with tensors for whatever was given."""


@dataclasses.dataclass(frozen=True)
class LinfAttack(Attack):
    """An attack that may change every pixel by at most `epsilon`.

    Attributes:
      epsilon: radius of the L-infinity ball around each image, in [0, 1]: one number for all, or
        a float32 tensor [N, 1, 1, 1] with one for each image.

    Raises:
      UserError: epsilon outside [0, 1].
    """

    epsilon: float | tf.Tensor = 0.3

    def __post_init__(self) -> None:
        if not tf.is_tensor(self.epsilon):
            require(
                0 <= self.epsilon <= 1,
                f"{self.name}: epsilon {self.epsilon} given, a number in [0, 1] needed.",
            )
