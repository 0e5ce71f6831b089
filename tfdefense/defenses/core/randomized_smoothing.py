"""Randomized smoothing: votes over Gaussian noise, and the radius within which no change can turn them.

Cohen, Rosenfeld, Kolter, "Certified Adversarial Robustness via Randomized Smoothing", ICML 2019. The noise of a draw is a
function of image, seed and the draw's number: the same question gets the same answer.
"""

from collections.abc import Callable

import numpy as np
import tensorflow as tf
from scipy import stats

from tfdefense.attacks.core import per_image_random
from tfdefense.errors import require

ABSTAINS = -1
_BLOCK = 250
Logits = Callable[[tf.Tensor], tf.Tensor]


def add_noise(images: tf.Tensor, keys: tf.Tensor, sigma: float, numbers: int | tf.Tensor) -> tf.Tensor:
    """Images float32 [N, H, W, C] with Gaussian noise of standard deviation `sigma`, not clipped to [0, 1].

    Args:
      images: [N, H, W, C].
      keys: uint32 [N], `draws.image_keys`.
      sigma: standard deviation.
      numbers: of the draw: one, or int32 [N].
    """
    return images + sigma * per_image_random.normal(keys, list(images.shape[1:]), numbers)


def votes(
    logits: Logits,
    images: tf.Tensor,
    sigma: float,
    first: int,
    count: int,
    seed: int,
    num_classes: int,
) -> tf.Tensor:
    """How often each class wins under noise: int32 [N, K]. SampleUnderNoise of the paper, figure 2.

    Args:
      logits: noisy images float32 [M, H, W, C] -> [M, K].
      images: float32 [N, H, W, C] in [0, 1].
      sigma: standard deviation of the noise.
      first, count: numbers of the draws.
      seed: draws the noise, with the image.
      num_classes: K.
    """
    keys = per_image_random.image_keys(images, seed)
    total = tf.shape(images)[0]

    def add(number: tf.Tensor, counts: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        block = tf.minimum(_BLOCK, first + count - number)
        rows = tf.repeat(images, block, axis=0)
        numbers = tf.tile(number + tf.range(block), [total])
        winners = tf.argmax(logits(add_noise(rows, tf.repeat(keys, block), sigma, numbers)), axis=-1)
        hits = tf.one_hot(tf.reshape(winners, [total, block]), num_classes, dtype=tf.int32)
        return number + block, counts + tf.reduce_sum(hits, axis=1)

    _, counts = tf.while_loop(
        lambda number, _: number < first + count,
        add,
        (tf.constant(first), tf.zeros([total, num_classes], tf.int32)),
        shape_invariants=(tf.TensorShape([]), tf.TensorShape([None, num_classes])),
        parallel_iterations=1,
    )
    return counts


def certify_votes(first: tf.Tensor, counts: tf.Tensor, radii: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """Certify of the paper, figure 2: classes int32 [N], `ABSTAINS` where none is sure, and L2 radii float32 [N].

    Args:
      first: votes int32 [N, K] by which the class is chosen, of other draws than `counts`.
      counts: votes int32 [N, K] by which it is judged.
      radii: `radii_of` as many draws as `counts` has.
    """
    chosen = tf.argmax(first, axis=-1, output_type=tf.int32)
    found = tf.gather(radii, tf.gather(counts, chosen, batch_dims=1))
    return tf.where(found > 0, chosen, ABSTAINS), found


def certified_radii(count: int, alpha: float, sigma: float) -> np.ndarray:
    """L2 radius float32 [count + 1] that k of `count` votes certify with probability 1 - alpha; 0 where they do not.

    sigma * Phi^-1(p), p the lower Clopper-Pearson bound (one-sided) of the share of votes (theorem 1, proposition 2).
    """
    require(0 < alpha < 1, f"--alpha={alpha}: a number above 0 and below 1 needed.")
    votes_for = np.arange(count + 1)
    bound = stats.beta.ppf(alpha, np.maximum(votes_for, 1), count - votes_for + 1)
    bound[0] = 0.0
    radii = np.where(bound > 0.5, sigma * stats.norm.ppf(np.maximum(bound, 0.5)), 0.0)
    return radii.astype(np.float32)
