"""Projected gradient descent: the basic iterative method from random starts."""

import dataclasses

import tensorflow as tf

from tfdefense.attacks.base import Model
from tfdefense.attacks.iterative import IterativeAttack
from tfdefense.errors import require


@dataclasses.dataclass(frozen=True)
class PGD(IterativeAttack):
    """`restarts` runs of BIM from uniform points of the ball; per image, the one of highest loss.

    Madry et al., "Towards Deep Learning Models Resistant to Adversarial Attacks", ICLR 2018. The
    defaults, with epsilon 0.3, are its MNIST attack: 40 steps of 0.01.

    Attributes:
      restarts: random starts, at least 1.
      seed: fixes them: two calls on the same batch give the same images.
    """

    name = "pgd"
    steps: int = 40
    relative_step_size: float = 1 / 30
    restarts: int = 1
    seed: int = 0

    def __post_init__(self) -> None:
        super().__post_init__()
        require(
            self.restarts >= 1, f"{self.name}: restarts {self.restarts} given, at least 1 needed."
        )

    def craft(self, model: Model, images: tf.Tensor, labels: tf.Tensor) -> tf.Tensor:
        def loss(candidates: tf.Tensor) -> tf.Tensor:
            return tf.nn.sparse_softmax_cross_entropy_with_logits(labels, model(candidates))

        def one_run(restart: tf.Tensor) -> tf.Tensor:
            noise = tf.random.stateless_uniform(
                tf.shape(images), seed=tf.stack([self.seed, restart]), minval=-1.0, maxval=1.0
            )
            return self.iterate(model, images, labels, images + self.epsilon * noise)

        best = one_run(tf.constant(0))
        for restart in range(1, self.restarts):
            candidate = one_run(tf.constant(restart))
            stronger = (loss(candidate) > loss(best))[:, None, None, None]
            best = tf.where(stronger, candidate, best)
        return best
