"""Random perturbations of images within an L-infinity ball."""

from collections.abc import Callable

import numpy as np
import tensorflow as tf

from tfdefense.attacks.core import per_image_random
from tfdefense.attacks.core.cleverhans_backend import project_to_ball
from tfdefense.attacks.core.criteria import is_misclassified
from tfdefense.attacks.core.norms import expand_per_image
from tfdefense.data.core.dataset import Split
from tfdefense.evaluation.checks.probe_progress import Advance
from tfdefense.evaluation.runner import ModelRunner, RunnableModel
from tfdefense.utils.batch_size import fitting_batch_size


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

    def fooled(self, split: Split, advance: Advance) -> np.ndarray:
        """Return bool [n]: images that at least one perturbation fools.

        Args:
          split: the images.
          advance: told which share of the draws is done.
        """
        fooled = np.zeros(len(split), bool)
        compiled = self._compile(split.image_shape)
        batch_size = fitting_batch_size(split.image_shape, self.pipeline.batch_size)
        first = 0
        while first < self.draws and not fooled.all():
            left = np.flatnonzero(~fooled)
            last = min(first + max(1, batch_size // len(left)), self.draws)
            for start in range(0, len(left), batch_size):
                rows = left[start : start + batch_size]
                found = compiled(
                    tf.constant(split.images[rows]),
                    tf.constant(split.labels[rows]),
                    tf.range(first, last),
                )
                fooled[rows] = found.numpy()
            first = last
            advance(first / self.draws)
        return fooled

    def _compile(self, image_shape: tuple[int, ...]) -> Callable[..., tf.Tensor]:
        """Return `_fooled_by_draws`, compiled for any number of images and draws."""
        signature = (
            tf.TensorSpec([None, *image_shape], tf.float32),
            tf.TensorSpec([None], tf.int32),
            tf.TensorSpec([None], tf.int32),
        )
        function = tf.function(self._fooled_by_draws, autograph=False)
        return function.get_concrete_function(*signature)

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
