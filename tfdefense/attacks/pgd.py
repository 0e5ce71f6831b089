"""Projected gradient descent: the basic iterative method from random starts."""

import dataclasses

import tensorflow as tf

from tfdefense.attacks.core import norms, per_image_random
from tfdefense.attacks.core.attack import Crafted, Model
from tfdefense.attacks.core.gradients import cross_entropy, fooled
from tfdefense.attacks.core.iterative import IterativeAttack
from tfdefense.attacks.core.restarts import best_of
from tfdefense.errors import require, unknown_name

PGD_STARTS = ("uniform", "blocks")
_SIDES = (1, 2, 4, 8, 16, 32)


@dataclasses.dataclass(frozen=True)
class PGD(IterativeAttack):
    """`restarts` runs of BIM from random points of the ball; per image, the best of them.

    Madry et al., "Towards Deep Learning Models Resistant to Adversarial Attacks", ICLR 2018. The
    defaults, with epsilon 0.3, are its MNIST attack: 40 steps of 0.01.

    Attributes:
      restarts: random starts, at least 1. The best fools, and has the highest loss. With `stop_at_success`, an image that fell needs no more.
      start: "uniform", anywhere in the ball, or "blocks", at its corners: blocks and stripes of one sign, as the square attack
        begins with (linf alone). Where pixels near their clean values have no gradient, those at the corners may.
      seed: fixes the starts; they are a function of it and the image, whatever batch that is in.
    """

    name = "pgd"
    summary = "Projected gradient descent: BIM from random starts, the best of them for each image (Madry et al. 2018)"
    steps: int = 40
    relative_step_size: float = 1 / 30
    restarts: int = 1
    start: str = "uniform"
    seed: int = 0

    def __post_init__(self) -> None:
        super().__post_init__()
        require(
            self.restarts >= 1, f"{self.name}: restarts {self.restarts} given, at least 1 needed."
        )
        if self.start not in PGD_STARTS:
            raise unknown_name(f"{self.name}: start", self.start, PGD_STARTS)
        require(
            self.start == "uniform" or self.norm == "linf",
            f"{self.name}: start {self.start!r} given with norm {self.norm!r}, 'linf' needed.",
        )

    def craft(
        self, model: Model, images: tf.Tensor, labels: tf.Tensor, targets: tf.Tensor | None
    ) -> Crafted:
        untargeted = targets is None

        def one_run(number: tf.Tensor, constants: tuple) -> tuple:
            images, labels, targets, epsilon, keys = constants
            targets = None if untargeted else targets
            start = images + self._change(keys, images, number, epsilon)
            run = self.iterate(model, images, labels, targets, start, epsilon)
            logits = model(run.images)
            sign, aim = (1, labels) if untargeted else (-1, targets)
            loss = sign * cross_entropy(aim)(logits)
            return run._replace(queries=run.queries + 1), loss, fooled(logits, labels, targets)

        constants = (
            images,
            labels,
            labels if untargeted else targets,
            self.radii(images),
            per_image_random.image_keys(images, self.seed),
        )
        return best_of(one_run, self.restarts, images, constants, self.stop_at_success)

    def _change(
        self, keys: tf.Tensor, images: tf.Tensor, stream: tf.Tensor, epsilon: tf.Tensor
    ) -> tf.Tensor:
        if self.start == "blocks":
            return epsilon * block_signs(keys, images, stream)
        return random_perturbation(keys, images, stream, epsilon, self.norm)


def random_perturbation(
    keys: tf.Tensor, images: tf.Tensor, stream: int | tf.Tensor, epsilon: tf.Tensor, norm: str
) -> tf.Tensor:
    """A point of the ball around 0: uniform for "linf", of uniform radius for "l2"."""
    shape = [images.shape[i] or tf.shape(images)[i] for i in (1, 2, 3)]
    box = 2 * per_image_random.uniform(keys, shape, 2 * stream) - 1
    if norm == "linf":
        return epsilon * box
    radius = norms.expand_per_image(per_image_random.uniform(keys, [], 2 * stream + 1))
    return epsilon * radius * norms.steepest_direction(box, norm)


def block_signs(keys: tf.Tensor, images: tf.Tensor, stream: int | tf.Tensor) -> tf.Tensor:
    """-1 and 1, float32 [N, H, W, C]: equal within blocks of each image, whose height and width are drawn apart.

    A block as high as the image makes stripes; a block of one pixel, noise.
    """
    height, width, channels = (images.shape[i] or tf.shape(images)[i] for i in (1, 2, 3))
    signs = per_image_random.signs(keys, [height, width, channels], 3 * stream)
    for axis, size in ((1, height), (2, width)):
        side = tf.gather(_SIDES, per_image_random.integers(keys, len(_SIDES), 3 * stream + axis))
        signs = tf.gather(signs, tf.range(size) // side[:, tf.newaxis], axis=axis, batch_dims=1)
    return signs
