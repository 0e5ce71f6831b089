"""Several runs of an attack on the same images, of which each image keeps its best."""

from collections.abc import Callable
from typing import Any

import tensorflow as tf

from tfdefense.attacks.core import norms
from tfdefense.attacks.core.attack import Crafted
from tfdefense.attacks.core.masked_loop import masked_while_loop

Run = Callable[[tf.Tensor, Any], tuple[Crafted, tf.Tensor, tf.Tensor]]


def best_of(
    run: Run, runs: int, images: tf.Tensor, constants: Any, stop_at_success: bool
) -> Crafted:
    """The best result of `runs` runs, image by image, and what they cost together.

    Args:
      run: `run(number, constants) -> (crafted, score [N], fell [N])`. A result that fooled is better
        than one that did not; between two of a kind the higher score wins.
      runs: how many.
      images: what comes back where no run does any good.
      constants: nest of tensors [N, ...] that runs read.
      stop_at_success: images that fell are left out of later runs.
    """

    def once_more(number: tf.Tensor, best: tuple, constants: Any) -> tuple:
        kept, kept_score, kept_fell, queries, gradients, blind = best
        crafted, score, fell = run(number, constants)
        better = tf.where(fell == kept_fell, score > kept_score, fell)
        best = (
            tf.where(norms.expand_per_image(better), crafted.images, kept),
            tf.where(better, score, kept_score),
            fell | kept_fell,
            queries + crafted.queries,
            gradients + crafted.gradients,
            tf.where(number == 0, crafted.no_gradient, blind),
        )
        return best, ~fell if stop_at_success else tf.ones_like(fell)

    numbers = tf.zeros_like(images[:, 0, 0, 0])
    counts = tf.cast(numbers, tf.int32)
    everyone = tf.ones_like(counts, tf.bool)
    images, _, _, queries, gradients, blind = masked_while_loop(
        once_more,
        (images, numbers + numbers.dtype.min, ~everyone, counts, counts, ~everyone),
        everyone,
        runs,
        constants,
    )
    return Crafted(images, queries, gradients, blind)
