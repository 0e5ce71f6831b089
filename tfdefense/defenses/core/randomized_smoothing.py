"""Randomized smoothing: classes by vote over Gaussian noise, with certified L2 radii.

Cohen, Rosenfeld, Kolter, "Certified Adversarial Robustness via Randomized Smoothing", ICML 2019,
figure 2. The noise of a draw is a function of the image, the seed and the number of the draw, so the
same question gets the same answer.
"""

import dataclasses
from collections.abc import Callable

import numpy as np
import tensorflow as tf
from scipy import stats

from tfdefense.attacks.core import per_image_random
from tfdefense.errors import require
from tfdefense.utils.batch_size import fitting_batch_size

ABSTAINS = -1
_BLOCK = 250  # Largest number of noisy copies of an image at once.
_FULL_BLOCKS = 4  # This many images have full blocks; those of more images are smaller.


@dataclasses.dataclass(frozen=True)
class SmoothedClassifier:
    """Classifier whose class is the one that wins most often under Gaussian noise.

    Attributes:
      classifier: noisy images float32 [M, H, W, C] -> logits [M, K].
      num_classes: K.
      sigma: standard deviation of the noise, images in [0, 1].
      seed: seed of the noise.
    """

    classifier: Callable[[tf.Tensor], tf.Tensor]
    num_classes: int
    sigma: float
    seed: int = 0

    def count_votes(self, images: tf.Tensor, first_draw: int, draws: int) -> tf.Tensor:
        """Count how often each class wins under noise: SampleUnderNoise of the paper, figure 2.

        At most max(N, 1,000) noisy images are in memory at once, fewer if they are large.

        Args:
          images: float32 [N, H, W, C] in [0, 1].
          first_draw: number of the first draw.
          draws: number of draws per image.

        Returns:
          int32 [N, K].
        """
        keys = per_image_random.image_keys(images, self.seed)
        image_count = tf.shape(images)[0]
        end = first_draw + draws
        full_block = fitting_batch_size(tuple(images.shape[1:]), _BLOCK)
        # A request may have thousands of images, and memory is needed for the blocks of all.
        fitting_block = _FULL_BLOCKS * full_block // tf.maximum(1, image_count)
        largest_block = tf.maximum(1, tf.minimum(full_block, fitting_block))

        def count_block(number: tf.Tensor, counts: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
            block = tf.minimum(largest_block, end - number)
            repeated, repeated_keys = tf.repeat(images, block, axis=0), tf.repeat(keys, block)
            numbers = tf.tile(number + tf.range(block), [image_count])
            logits = self.classifier(add_noise(repeated, repeated_keys, self.sigma, numbers))
            winners = tf.reshape(tf.argmax(logits, axis=-1), [image_count, block])
            votes = tf.one_hot(winners, self.num_classes, dtype=tf.int32)
            return number + block, counts + tf.reduce_sum(votes, axis=1)

        _, counts = tf.while_loop(
            lambda number, _: number < end,
            count_block,
            (tf.constant(first_draw), tf.zeros([image_count, self.num_classes], tf.int32)),
            shape_invariants=(tf.TensorShape([]), tf.TensorShape([None, self.num_classes])),
            parallel_iterations=1,
        )
        return counts


def add_noise(
    images: tf.Tensor, keys: tf.Tensor, sigma: float, numbers: int | tf.Tensor
) -> tf.Tensor:
    """Return images with Gaussian noise, not clipped to [0, 1].

    Args:
      images: float32 [N, H, W, C].
      keys: uint32 [N], from `per_image_random.image_keys`.
      sigma: standard deviation.
      numbers: number of the draw: one for all images, or int32 [N].
    """
    return images + sigma * per_image_random.normal(keys, list(images.shape[1:]), numbers)


def certify_votes(
    selection_votes: tf.Tensor, estimation_votes: tf.Tensor, radii: tf.Tensor
) -> tuple[tf.Tensor, tf.Tensor]:
    """Return classes and certified L2 radii: Certify of the paper, figure 2.

    Args:
      selection_votes: votes int32 [N, K] that select the class.
      estimation_votes: votes int32 [N, K] of other draws, which estimate its probability.
      radii: `certified_radii` of the number of estimation votes.

    Returns:
      Classes int32 [N], `ABSTAINS` where nothing is certified, and radii float32 [N], 0 there.
    """
    selected = tf.argmax(selection_votes, axis=-1, output_type=tf.int32)
    found = tf.gather(radii, tf.gather(estimation_votes, selected, batch_dims=1))
    return tf.where(found > 0, selected, ABSTAINS), found


def certified_radii(votes: int, alpha: float, sigma: float) -> np.ndarray:
    """Return the L2 radius that k of `votes` votes certify, for k = 0 to `votes`.

    The radius is sigma * Phi^-1(p), where p is the lower one-sided Clopper-Pearson bound of the
    probability of the class (theorem 1, proposition 2).

    Args:
      votes: number of estimation votes.
      alpha: probability that a certificate is wrong, in (0, 1).
      sigma: standard deviation of the noise.

    Returns:
      float32 [votes + 1]; 0 where p is at most 1/2.

    Raises:
      UserError: alpha out of range.
    """
    require(0 < alpha < 1, f"--alpha={alpha}: a number above 0 and below 1 is needed.")
    counts = np.arange(votes + 1)
    bound = stats.beta.ppf(alpha, np.maximum(counts, 1), votes - counts + 1)
    bound[0] = 0.0
    radii = np.where(bound > 0.5, sigma * stats.norm.ppf(np.maximum(bound, 0.5)), 0.0)
    return radii.astype(np.float32)
