"""Several runs of an attack on the same images; each image keeps its best result."""

from collections.abc import Callable
from typing import Any, NamedTuple

import tensorflow as tf

from tfdefense.attacks.core import norms
from tfdefense.attacks.core.attack_result import AdversarialBatch
from tfdefense.attacks.core.masked_loop import masked_while_loop


class ScoredBatch(NamedTuple):
    """Adversarial images of one run, and how good each is.

    Attributes:
      adversarial: the images and their cost.
      score: float32 [N]; of two successful or two unsuccessful results the higher score wins.
      success: bool [N].
    """

    adversarial: AdversarialBatch
    score: tf.Tensor
    success: tf.Tensor


class _BestSoFar(NamedTuple):
    """Best result of each image and the cost of all runs so far; tensors of N rows."""

    images: tf.Tensor
    score: tf.Tensor
    success: tf.Tensor
    queries: tf.Tensor
    gradients: tf.Tensor
    no_gradient: tf.Tensor


def best_of_restarts(
    run_once: Callable[[tf.Tensor, Any], ScoredBatch],
    restarts: int,
    images: tf.Tensor,
    constants: Any,
    *,
    stop_at_success: bool,
) -> AdversarialBatch:
    """Return the best result of each image over several runs, and the cost of all runs together.

    Args:
      run_once: `run_once(number, constants)` returns the result of one run. A successful result is
        better than an unsuccessful one; otherwise the higher score is better.
      restarts: number of runs.
      images: float32 [N, H, W, C], returned for an image that no run changes.
      constants: nest of tensors [N, ...] that the runs read.
      stop_at_success: leave out images with a successful result in later runs.
    """

    def run_again(
        number: tf.Tensor, best: _BestSoFar, constants: Any
    ) -> tuple[_BestSoFar, tf.Tensor]:
        adversarial, score, success = run_once(number, constants)
        better = tf.where(success == best.success, score > best.score, success)
        best = _BestSoFar(
            images=tf.where(norms.expand_per_image(better), adversarial.images, best.images),
            score=tf.where(better, score, best.score),
            success=success | best.success,
            queries=best.queries + adversarial.queries,
            gradients=best.gradients + adversarial.gradients,
            no_gradient=tf.where(number == 0, adversarial.no_gradient, best.no_gradient),
        )
        return best, ~success if stop_at_success else tf.ones_like(success)

    numbers = tf.zeros_like(images[:, 0, 0, 0])
    counts = tf.cast(numbers, tf.int32)
    all_images = tf.ones_like(counts, tf.bool)
    best = _BestSoFar(
        images=images,
        score=numbers + numbers.dtype.min,
        success=~all_images,
        queries=counts,
        gradients=counts,
        no_gradient=~all_images,
    )
    if restarts == 1:  # A loop would take longer to trace.
        best, _ = run_again(tf.constant(0), best, constants)
    else:
        best = masked_while_loop(run_again, best, all_images, restarts, constants)
    return AdversarialBatch(best.images, best.queries, best.gradients, best.no_gradient)
