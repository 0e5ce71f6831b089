"""Searches along a decision boundary that use only the predicted class of each query.

Chen, Jordan, Wainwright, "HopSkipJumpAttack: A Query-Efficient Decision-Based Attack", IEEE S&P
2020, section III and algorithm 1.
"""

from collections.abc import Callable
from typing import NamedTuple

import tensorflow as tf

from tfdefense.attacks.core import norms, per_image_random
from tfdefense.attacks.core.criteria import is_successful
from tfdefense.attacks.core.masked_loop import masked_while_loop
from tfdefense.attacks.core.model import Model

# Largest number of pixel values in one call of the model, unless the batch itself has more.
_MAX_VALUES = 2**20


class BoundaryBatch(NamedTuple):
    """Images whose boundary is searched; tensors of N rows.

    Attributes:
      images: clean images, float32 [N, H, W, C].
      labels: true classes, int32 [N].
      targets: target classes, int32 [N]; None means any wrong class.
      keys: keys of the random numbers of each image, uint32 [N].
    """

    images: tf.Tensor
    labels: tf.Tensor
    targets: tf.Tensor | None
    keys: tf.Tensor


Oracle = Callable[[tf.Tensor, BoundaryBatch], tf.Tensor]
"""`oracle(candidates, batch)` returns bool [N]: True where the candidate is adversarial."""


def decision_oracle(model: Model) -> Oracle:
    """Return the function that tells from the predicted class whether candidates are adversarial."""

    def is_adversarial(candidates: tf.Tensor, batch: BoundaryBatch) -> tf.Tensor:
        return is_successful(model(candidates), batch.labels, batch.targets)

    return is_adversarial


def search_boundary(
    oracle: Oracle, batch: BoundaryBatch, points: tf.Tensor, norm: str, steps: int
) -> tf.Tensor:
    """Return adversarial points near the boundary, between the images and `points` (algorithm 1).

    In "l2" the search is on the segment from the image to the point, in "linf" over the radius of
    the ball around the image to which the point is clipped. Each step halves the interval and costs
    one query.

    Args:
      oracle: see `Oracle`.
      batch: the images.
      points: adversarial points, float32 [N, H, W, C].
      norm: "linf" or "l2".
      steps: number of halvings.
    """
    images = batch.images
    low = tf.zeros_like(images[:, 0, 0, 0])
    high = norms.linf(points - images) if norm == "linf" else tf.ones_like(low)

    def halve(
        number: tf.Tensor, low: tf.Tensor, high: tf.Tensor, nearest: tf.Tensor
    ) -> tuple[tf.Tensor, ...]:
        middle = (low + high) / 2
        size = norms.expand_per_image(middle)
        if norm == "linf":
            candidates = tf.clip_by_value(points, images - size, images + size)
        else:
            candidates = images + size * (points - images)
        candidates = tf.clip_by_value(candidates, 0.0, 1.0)
        adversarial = oracle(candidates, batch)
        nearest = tf.where(norms.expand_per_image(adversarial), candidates, nearest)
        low, high = tf.where(adversarial, low, middle), tf.where(adversarial, middle, high)
        return number + 1, low, high, nearest

    *_, nearest = tf.while_loop(lambda number, *_: number < steps, halve, (0, low, high, points))
    return nearest


class _StepState(NamedTuple):
    """Point after the step, its length, and the number of queries; tensors of N rows."""

    points: tf.Tensor
    length: tf.Tensor
    queries: tf.Tensor


def step_along(
    oracle: Oracle,
    batch: BoundaryBatch,
    points: tf.Tensor,
    steps: tf.Tensor,
    max_tries: int,
) -> tuple[tf.Tensor, tf.Tensor]:
    """Add `steps` to `points`; halve a step until its end is adversarial (section III-C).

    Args:
      oracle: see `Oracle`.
      batch: the images.
      points: adversarial points, float32 [N, H, W, C].
      steps: float32 [N, H, W, C].
      max_tries: largest number of lengths to try. If none is adversarial, the point stays.

    Returns:
      Points float32 [N, H, W, C], and the number of queries int32 [N].
    """

    def attempt(
        number: tf.Tensor, state: _StepState, constants: tuple[BoundaryBatch, tf.Tensor, tf.Tensor]
    ) -> tuple[_StepState, tf.Tensor]:
        del number
        batch, points, steps = constants
        moved = points + norms.expand_per_image(state.length) * steps
        candidates = tf.clip_by_value(moved, 0.0, 1.0)
        adversarial = oracle(candidates, batch)
        points = tf.where(norms.expand_per_image(adversarial), candidates, points)
        return _StepState(points, state.length / 2, state.queries + 1), ~adversarial

    counts = tf.zeros_like(batch.labels)
    state = _StepState(points, tf.ones_like(points[:, 0, 0, 0]), counts)
    state = masked_while_loop(attempt, state, counts == 0, max_tries, (batch, points, steps))
    return state.points, state.queries


class NoiseSamples(NamedTuple):
    """Size of a Monte Carlo estimate for each image; tensors of N rows.

    Attributes:
      radius: length of the noise, float32 [N].
      count: number of queries, int32 [N].
      stream: number of the first stream of random numbers, int32 [N]; each query has its own.
    """

    radius: tf.Tensor
    count: tf.Tensor
    stream: tf.Tensor


def estimate_normal(
    oracle: Oracle, batch: BoundaryBatch, points: tf.Tensor, samples: NoiseSamples, norm: str
) -> tf.Tensor:
    """Return an estimate of the normal of the boundary, towards the adversarial side.

    With unit vectors u_b and phi_b = 1 where `points + radius * u_b` is adversarial, else -1, it is
    the sum of (phi_b - mean(phi)) u_b (equations 12 and 16). If all phi_b are equal, it is the sum
    of phi_b u_b. The sums are in float64 and each image has its own random numbers, so the estimate
    does not depend on how the queries are divided into batches.

    Args:
      oracle: see `Oracle`.
      batch: the images.
      points: points at the boundary, float32 [N, H, W, C].
      samples: see `NoiseSamples`.
      norm: "l2" draws u_b from the unit sphere; "linf" scales a draw from the cube to length 1.

    Returns:
      float32 [N, H, W, C].
    """
    shape = points.shape[1:].as_list()
    rows = tf.shape(points)[0]
    ends = tf.cumsum(samples.count)
    total = ends[-1]
    batch_size = tf.maximum(rows, max(1, _MAX_VALUES // points.shape[1:].num_elements()))

    def add_queries(first: tf.Tensor, *sums: tf.Tensor) -> tuple[tf.Tensor, ...]:
        numbers = tf.range(first, tf.minimum(first + batch_size, total))
        row = tf.searchsorted(ends, numbers, side="right")

        def gather_rows(tensor: tf.Tensor | None) -> tf.Tensor | None:
            return None if tensor is None else tf.gather(tensor, row)

        part, centers, sizes = tf.nest.map_structure(gather_rows, (batch, points, samples))
        stream = sizes.stream + numbers - tf.gather(ends - samples.count, row)
        draw = per_image_random.normal if norm == "l2" else _centred_uniform
        radius = norms.expand_per_image(sizes.radius)
        moved = centers + radius * _unit_length(draw(part.keys, shape, stream))
        candidates = tf.clip_by_value(moved, 0.0, 1.0)
        noise = tf.cast((candidates - centers) / radius, tf.float64)
        phi = tf.where(oracle(candidates, part), tf.ones([], tf.float64), -1)
        terms = (norms.expand_per_image(phi) * noise, noise, phi)
        added = (tf.math.unsorted_segment_sum(term, row, rows) for term in terms)
        return first + batch_size, *(a + b for a, b in zip(sums, added, strict=True))

    zeros = tf.zeros_like(points, tf.float64)
    _, signed, plain, balance = tf.while_loop(
        lambda first, *_: first < total,
        add_queries,
        (tf.constant(0), zeros, zeros, tf.zeros([rows], tf.float64)),
        shape_invariants=(
            tf.TensorShape([]),
            *[tf.TensorShape([None, *shape])] * 2,
            tf.TensorShape([None]),
        ),
        parallel_iterations=1,
    )
    mean = balance / tf.cast(samples.count, tf.float64)
    mean = tf.where(tf.abs(mean) == 1, tf.zeros_like(mean), mean)
    return tf.cast(signed - norms.expand_per_image(mean) * plain, tf.float32)


def _centred_uniform(keys: tf.Tensor, shape: list[int | tf.Tensor], stream: tf.Tensor) -> tf.Tensor:
    return 2 * per_image_random.uniform(keys, shape, stream) - 1


def _unit_length(noise: tf.Tensor) -> tf.Tensor:
    return tf.math.divide_no_nan(noise, norms.expand_per_image(norms.l2(noise)))
