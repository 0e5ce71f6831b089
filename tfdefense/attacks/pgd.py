"""Projected gradient descent: the basic iterative method from random starts."""

import dataclasses

import tensorflow as tf

from tfdefense.attacks import draws, norms
from tfdefense.attacks.base import Crafted, Model
from tfdefense.attacks.gradients import cross_entropy, fooled
from tfdefense.attacks.iterative import IterativeAttack
from tfdefense.attacks.restarts import best_of
from tfdefense.errors import require


@dataclasses.dataclass(frozen=True)
class PGD(IterativeAttack):
    """`restarts` runs of BIM from random points of the ball; per image, the best of them.

    Madry et al., "Towards Deep Learning Models Resistant to Adversarial Attacks", ICLR 2018. The
    defaults, with epsilon 0.3, are its MNIST attack: 40 steps of 0.01.

    Attributes:
      restarts: random starts, at least 1. The best fools, and has the highest loss. With `stop_at_success`, an image that fell needs no more.
      seed: fixes the starts; they are a function of it and the image, whatever batch that is in.
    """

    name = "pgd"
    summary = "Projected gradient descent: BIM from random starts, the best of them for each image (Madry et al. 2018)"
    steps: int = 40
    relative_step_size: float = 1 / 30
    restarts: int = 1
    seed: int = 0

    def __post_init__(self) -> None:
        super().__post_init__()
        require(
            self.restarts >= 1, f"{self.name}: restarts {self.restarts} given, at least 1 needed."
        )

    def craft(
        self, model: Model, images: tf.Tensor, labels: tf.Tensor, targets: tf.Tensor | None
    ) -> Crafted:
        untargeted = targets is None

        def one_run(number: tf.Tensor, constants: tuple) -> tuple:
            images, labels, targets, epsilon, keys = constants
            targets = None if untargeted else targets
            start = images + random_change(keys, images, number, epsilon, self.norm)
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
            draws.image_keys(images, self.seed),
        )
        return best_of(one_run, self.restarts, images, constants, self.stop_at_success)


def random_change(
    keys: tf.Tensor, images: tf.Tensor, stream: int | tf.Tensor, epsilon: tf.Tensor, norm: str
) -> tf.Tensor:
    """A point of the ball around 0: uniform for "linf", of uniform radius for "l2"."""
    shape = [images.shape[i] or tf.shape(images)[i] for i in (1, 2, 3)]
    box = 2 * draws.uniform(keys, shape, 2 * stream) - 1
    if norm == "linf":
        return epsilon * box
    radius = norms.per_image(draws.uniform(keys, [], 2 * stream + 1))
    return epsilon * radius * norms.steepest(box, norm)
