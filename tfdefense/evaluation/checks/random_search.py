"""Random perturbations of images within an L-infinity ball."""

import functools

import numpy as np
import tensorflow as tf

from tfdefense.attacks.core import per_image_random
from tfdefense.attacks.core.cleverhans_backend import project_to_ball
from tfdefense.attacks.core.criteria import is_misclassified
from tfdefense.attacks.core.norms import expand_per_image
from tfdefense.data.core.dataset import Split
from tfdefense.evaluation.runner import ModelRunner, RunnableModel
from tfdefense.utils.progress import ProgressBar


class RandomSearch:
    """Attack by random noise, which needs no gradient.

    Args:
      pipeline: runs the attacked model.
      epsilon: L-infinity radius.
      draws: random perturbations of each image. Odd ones are corners of the ball, even ones are
        uniform in it.
    """

    def __init__(self, pipeline: ModelRunner[RunnableModel], epsilon: float, draws: int) -> None:
        self.pipeline = pipeline
        self.epsilon = epsilon
        self.draws = draws

    def fooled(self, split: Split) -> np.ndarray:
        """Return bool [n]: images that at least one perturbation fools."""
        n = len(split)
        fooled = np.zeros(n, bool)
        images, labels = tf.constant(split.images), tf.constant(split.labels)
        draws_at_once = max(1, self.pipeline.batch_size // n)
        title = f"random noise on {self.pipeline.model.name}"
        with ProgressBar(title, self.draws * n) as progress:
            for first in range(0, self.draws, draws_at_once):
                numbers = tf.range(first, min(first + draws_at_once, self.draws))
                fooled |= self._compiled(images, labels, numbers).numpy()
                progress.advance(draws_at_once * n)
        return fooled

    @functools.cached_property
    def _compiled(self) -> tf.types.experimental.GenericFunction:
        return tf.function(self._fooled_by_draws, autograph=False, reduce_retracing=True)

    def _fooled_by_draws(
        self, images: tf.Tensor, labels: tf.Tensor, numbers: tf.Tensor
    ) -> tf.Tensor:
        """Return bool [n]: images that at least one of the draws int32 [d] fools."""
        count, draws = tf.shape(images)[0], tf.shape(numbers)[0]
        numbers = tf.repeat(numbers, count)
        repeated = tf.tile(images, [draws, 1, 1, 1])
        keys = per_image_random.image_keys(repeated, seed=1) + tf.cast(numbers, tf.uint32)
        box = 2 * per_image_random.uniform(keys, list(images.shape[1:]), stream=0) - 1
        box = tf.where(expand_per_image(numbers % 2 == 0), box, tf.sign(box))
        noisy = project_to_ball(repeated + self.epsilon * box, repeated, self.epsilon)
        wrong = is_misclassified(self.pipeline.model(noisy), tf.tile(labels, [draws]))
        return tf.reduce_any(tf.reshape(wrong, [draws, count]), axis=0)
