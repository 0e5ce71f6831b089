"""What an attack is: hyperparameters in the constructor, data in the call."""

import abc
import dataclasses
import warnings
from collections.abc import Callable
from typing import ClassVar, NamedTuple

import numpy as np
import tensorflow as tf

from tfdefense.attacks.core import norms
from tfdefense.attacks.core.compile_cache import CompiledAttack
from tfdefense.attacks.core.expectation import draws_of
from tfdefense.errors import require

Model = Callable[[tf.Tensor], tf.Tensor]


class Crafted(NamedTuple):
    """What `Attack.craft` returns.

    Attributes:
      images: float32 [N, H, W, C] in [0, 1].
      queries: how often the model was asked for the logits of each image, int32 [N] or one number.
      gradients: how often for a gradient, int32 [N] or one number.
      no_gradient: bool [N] or one; True where the first gradient was zero at every pixel.
    """

    images: tf.Tensor
    queries: tf.Tensor | int = 0
    gradients: tf.Tensor | int = 0
    no_gradient: tf.Tensor | bool = False


class AttackResult(NamedTuple):
    """What an attack did to each image. All but `images` are of shape [N].

    Attributes:
      images: float32 [N, H, W, C] in [0, 1].
      success: bool; misclassified now (untargeted), or classified as the target.
      targets: int32; the class aimed at, -1 where any wrong one would do.
      l0: int32; pixels changed in any channel.
      l2, linf: float32; norms of the change, images in [0, 1].
      queries: int32; times the model was asked for logits, every draw of an `Expectation` counted.
      gradients: int32; times it was differentiated.
      no_gradient: bool; the first gradient was zero at every pixel, so a gradient attack is blind.
    """

    images: tf.Tensor
    success: tf.Tensor
    targets: tf.Tensor
    l0: tf.Tensor
    l2: tf.Tensor
    linf: tf.Tensor
    queries: tf.Tensor
    gradients: tf.Tensor
    no_gradient: tf.Tensor


@dataclasses.dataclass(frozen=True)
class Attack(abc.ABC):
    """`attack(model, images, labels) -> images`, or `attack.run(...)` for all there is to know.

    Both take:
      model: any callable from images float32 [N, H, W, C] in [0, 1] to logits float32 [N, K]: a
        Keras model, a whole defended pipeline, an `Expectation`, something with `bpda` inside. Keep
        handing over the same object: each new one is compiled anew.
      images: float32 [N, H, W, C] in [0, 1].
      labels: integer [N], the true classes.
      targets: integer [N], the classes to be taken for; None means any but the label, or, where the
        attack has `targets`, what that says.

    An attack works on the whole batch at once, compiled; images that are done cost nothing more.
    What it makes of one image depends neither on the others nor on its place in the batch. It can
    be traced into a `tf.function` of your own; the values of the arguments are then not checked.

    Raises:
      UserError: images, labels, targets or logits of a wrong shape, type or range, probabilities in
        place of logits, targets for an attack that has none, or a model without any gradient.
    """

    name: ClassVar[str]
    takes_targets: ClassVar[bool] = False
    least_classes: ClassVar[int] = 2

    def __call__(
        self, model: Model, images: tf.Tensor, labels: tf.Tensor, targets: tf.Tensor | None = None
    ) -> tf.Tensor:
        """Adversarial images float32 [N, H, W, C]."""
        if tf.executing_eagerly():
            return CompiledAttack.of(self, model, images)(images, labels, targets)
        return self.traced_craft(model, images, labels, targets).images

    def run(
        self, model: Model, images: tf.Tensor, labels: tf.Tensor, targets: tf.Tensor | None = None
    ) -> AttackResult:
        """Adversarial images, and per image success, norms and cost."""
        if not tf.executing_eagerly():
            return self.traced_run(model, images, labels, targets)
        result = CompiledAttack.of(self, model, images, whole=True)(images, labels, targets)
        blind = int(np.sum(result.no_gradient))
        if blind:
            warnings.warn(
                f"{self.name}: the model's gradient is zero at every pixel of {blind} of {len(images)}"
                " images. A gradient attack is blind there: attack with square, or declare a gradient"
                " with bpda.",
                stacklevel=2,
            )
        return result

    @abc.abstractmethod
    def craft(
        self, model: Model, images: tf.Tensor, labels: tf.Tensor, targets: tf.Tensor | None
    ) -> Crafted:
        """What a subclass defines: the call, with float32 images and int32 labels and targets."""

    def traced_craft(
        self, model: Model, images: tf.Tensor, labels: tf.Tensor, targets: tf.Tensor | None
    ) -> Crafted:
        """`craft` inside a `tf.function`, with tensors for whatever was given."""
        return self._craft(model, images, labels, targets)[0]

    def traced_run(
        self, model: Model, images: tf.Tensor, labels: tf.Tensor, targets: tf.Tensor | None
    ) -> AttackResult:
        """`run`, inside a `tf.function`."""
        crafted, goal = self._craft(model, images, labels, targets)
        predicted = tf.argmax(model(crafted.images), axis=-1, output_type=tf.int32)
        change = crafted.images - tf.cast(images, tf.float32)
        count = tf.shape(change)[:1]
        draws = draws_of(model)
        return AttackResult(
            images=crafted.images,
            success=predicted != tf.cast(labels, tf.int32) if goal is None else predicted == goal,
            targets=tf.fill(count, -1) if goal is None else goal,
            l0=norms.l0(change),
            l2=norms.l2(change),
            linf=norms.linf(change),
            queries=tf.broadcast_to(draws * crafted.queries, count),
            gradients=tf.broadcast_to(draws * crafted.gradients, count),
            no_gradient=tf.broadcast_to(crafted.no_gradient, count),
        )

    def aiming(self, num_classes: int) -> "Attack | None":
        """An attack as far-reaching that takes targets: itself, or what stands in where it takes none; None for nothing.

        Args:
          num_classes: of the model that it is for.
        """
        del num_classes
        return self if self.takes_targets else None

    def goal(self, model: Model, images: tf.Tensor, labels: tf.Tensor) -> tf.Tensor | None:
        """The classes aimed at where the call gives none, int32 [N]; None: any wrong one will do."""
        del model, images, labels

    def _craft(
        self, model: Model, images: tf.Tensor, labels: tf.Tensor, targets: tf.Tensor | None
    ) -> tuple[Crafted, tf.Tensor | None]:
        require(
            targets is None or self.takes_targets,
            f"{self.name}: targets given, but this attack has none.",
        )
        images = tf.cast(images, tf.float32)
        labels = tf.cast(labels, tf.int32)
        if targets is not None:
            goal = tf.cast(targets, tf.int32)
            return self.craft(model, images, labels, goal), goal
        goal = self.goal(model, images, labels)
        crafted = self.craft(model, images, labels, goal)
        asked = 0 if goal is None else 1
        return crafted._replace(queries=crafted.queries + asked), goal


@dataclasses.dataclass(frozen=True)
class BoundedAttack(Attack):
    """An attack that may move every image by at most `epsilon`.

    Attributes:
      epsilon: radius of the ball around each image: one number for all, or a float32 tensor
        [N, 1, 1, 1] with one for each image. In [0, 1] for "linf", 0 or more for "l2".
      norm: in which it is measured, "linf" or "l2".

    Raises:
      UserError: an attribute out of range.
    """

    allowed_norms: ClassVar[tuple[str, ...]] = norms.NORMS

    epsilon: float | tf.Tensor = 0.3
    norm: str = "linf"

    def __post_init__(self) -> None:
        norms.check_norm(self.norm, self.name, self.allowed_norms)
        if not tf.is_tensor(self.epsilon):
            norms.check_radius(self.epsilon, self.norm, self.name)

    def radii(self, images: tf.Tensor) -> tf.Tensor:
        """Epsilon of each image, float32 [N, 1, 1, 1]."""
        return tf.broadcast_to(self.epsilon, tf.concat([tf.shape(images)[:1], [1, 1, 1]], axis=0))
