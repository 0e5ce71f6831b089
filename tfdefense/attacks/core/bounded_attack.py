"""Base class of attacks within a ball around each image."""

import dataclasses
from typing import ClassVar

import tensorflow as tf

from tfdefense.attacks.core import norms
from tfdefense.attacks.core.attack import Attack


@dataclasses.dataclass(frozen=True)
class BoundedAttack(Attack):
    """Attack that moves every image by at most `epsilon`.

    Attributes:
      epsilon: radius of the ball around each image: one number, or a float32 tensor [N, 1, 1, 1]
        with one radius per image. In [0, 1] for "linf", 0 or more for "l2".
      norm: norm of the ball, "linf" or "l2".

    Raises:
      UserError: an attribute is out of range.
    """

    allowed_norms: ClassVar[tuple[str, ...]] = norms.NORMS

    epsilon: float | tf.Tensor = 0.3
    norm: str = "linf"

    def __post_init__(self) -> None:
        norms.check_norm(self.norm, self.name, self.allowed_norms)
        if not norms.has_radius_per_image(self.epsilon):
            norms.check_radius(self.epsilon, self.norm, self.name)

    def radius_per_image(self, images: tf.Tensor) -> tf.Tensor:
        """Return the epsilon of each image, float32 [N, 1, 1, 1]."""
        return norms.spread_radius(self.epsilon, images)
