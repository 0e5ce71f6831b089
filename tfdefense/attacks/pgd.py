"""Projected gradient descent: the basic iterative method from random starts.

Madry, Makelov, Schmidt, Tsipras, Vladu, "Towards Deep Learning Models Resistant to Adversarial
Attacks", ICLR 2018, section 2.1.
"""

import dataclasses

import tensorflow as tf

from tfdefense.attacks.core import norms, per_image_random
from tfdefense.attacks.core.attack_cost import AttackCost
from tfdefense.attacks.core.attack_result import AdversarialBatch
from tfdefense.attacks.core.criteria import is_successful
from tfdefense.attacks.core.iterative_attack import IterationBatch, IterativeAttack
from tfdefense.attacks.core.losses import cross_entropy
from tfdefense.attacks.core.model import Model
from tfdefense.attacks.core.restarts import ScoredBatch, best_of_restarts
from tfdefense.errors import require, unknown_name

PGD_STARTS = ("uniform", "blocks")
_BLOCK_SIDES = (1, 2, 4, 8, 16, 32)  # A larger image adds its own side, for stripes.


@dataclasses.dataclass(frozen=True)
class PGD(IterativeAttack):
    """`restarts` runs of BIM from random points of the ball; each image keeps its best result.

    A successful result is better than an unsuccessful one; otherwise the result with the higher loss
    is kept. The defaults, with epsilon 0.3, are those of the paper for MNIST: 40 steps of 0.01.

    Attributes:
      restarts: number of random starts, at least 1. With `stop_at_success`, later restarts leave
        out the images that already fool the model.
      start: random start: "uniform" in the ball, or "blocks", at corners of the ball: blocks and
        stripes of one sign, as in the Square attack (linf only). It can find a gradient if the
        pixels have none near their clean values.
      seed: seed of the starts. The start of an image depends on the seed and the image, not on its
        batch.

    Raises:
      UserError: an attribute is out of range, or unknown.
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

    def largest_cost(self, image_shape: tuple[int, ...], num_classes: int) -> AttackCost:
        one_run = super().largest_cost(image_shape, num_classes)
        return one_run.plus(AttackCost(0, 1)).times(self.restarts)

    def craft(
        self, model: Model, images: tf.Tensor, labels: tf.Tensor, targets: tf.Tensor | None
    ) -> AdversarialBatch:
        def run_once(number: tf.Tensor, constants: tuple[IterationBatch, tf.Tensor]) -> ScoredBatch:
            batch, keys = constants
            found = self.iterate(model, batch, self._start(keys, batch, number))
            logits = model(found.images)
            if batch.targets is None:
                loss = cross_entropy(batch.labels)(logits)
            else:
                loss = -cross_entropy(batch.targets)(logits)
            success = is_successful(logits, batch.labels, batch.targets)
            return ScoredBatch(found._replace(queries=found.queries + 1), loss, success)

        batch = IterationBatch(images, labels, targets, self.radius_per_image(images))
        return best_of_restarts(
            run_once,
            self.restarts,
            images,
            (batch, per_image_random.image_keys(images, self.seed)),
            stop_at_success=self.stop_at_success,
        )

    def _start(self, keys: tf.Tensor, batch: IterationBatch, stream: tf.Tensor) -> tf.Tensor:
        if self.start == "blocks":
            return batch.images + batch.epsilon * block_signs(keys, batch.images, stream)
        return batch.images + random_perturbation(
            keys, batch.images, stream, batch.epsilon, self.norm
        )


def random_perturbation(
    keys: tf.Tensor, images: tf.Tensor, stream: int | tf.Tensor, epsilon: tf.Tensor, norm: str
) -> tf.Tensor:
    """Return a random point of the ball around 0, float32 [N, H, W, C].

    It is uniform for "linf". For "l2" its norm is uniform in [0, epsilon).
    """
    shape = [images.shape[i] or tf.shape(images)[i] for i in (1, 2, 3)]
    box = 2 * per_image_random.uniform(keys, shape, 2 * stream) - 1
    if norm == "linf":
        return epsilon * box
    radius = norms.expand_per_image(per_image_random.uniform(keys, [], 2 * stream + 1))
    return epsilon * radius * norms.steepest_direction(box, norm)


def block_signs(keys: tf.Tensor, images: tf.Tensor, stream: int | tf.Tensor) -> tf.Tensor:
    """Return -1 or 1 for each value, equal within blocks of each image: float32 [N, H, W, C].

    The height and the width of the blocks are drawn independently for each image. Blocks as high as
    the image are stripes; blocks of one pixel are noise.
    """
    height, width, channels = (images.shape[i] or tf.shape(images)[i] for i in (1, 2, 3))
    signs = per_image_random.signs(keys, [height, width, channels], 3 * stream)
    for axis, size in ((1, height), (2, width)):
        choices = len(_BLOCK_SIDES) + tf.cast(size > _BLOCK_SIDES[-1], tf.int32)
        drawn = per_image_random.integers(keys, choices, 3 * stream + axis)
        side = tf.gather([*_BLOCK_SIDES, size], drawn)
        signs = tf.gather(signs, tf.range(size) // side[:, tf.newaxis], axis=axis, batch_dims=1)
    return signs
