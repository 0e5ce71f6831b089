"""Walk along a boundary: its numbers of queries, and the noise in float32."""

import numpy as np
import tensorflow as tf

from tfdefense.attacks.core.boundary_walk import BoundaryWalk, WalkState
from tfdefense.attacks.core.decision_boundary import BoundaryBatch


def walk(norm, values, resolution=1.0):
    return BoundaryWalk(norm, values, 10, (100, 10_000), resolution)


def test_a_search_halves_to_the_threshold_of_the_paper_or_to_that_of_float32():
    """The threshold is d^(-3/2) in l2 and d^-2 in linf."""
    assert walk("l2", 100).min_queries == 10 + 1
    assert walk("l2", 784).min_queries == 15 + 1
    assert walk("linf", 100).min_queries == 10 + 14 + 1
    assert walk("linf", 150_528).min_queries == 10 + 16 + 1
    assert walk("l2", 784, resolution=16).min_queries == 11 + 1


def test_noise_is_long_enough_for_float32():
    length = walk("l2", 784)._noise_length
    first, later, near = (
        length(tf.constant([size]), tf.constant(number))
        for size, number in ((3.0, 0), (3.0, 5), (0.01, 5))
    )
    assert float(first[0]) == tf.constant(0.1)
    assert abs(float(later[0]) - 3 / 784) < 1e-6
    assert abs(float(near[0]) - 1e-5 * 28) < 1e-9


def test_the_last_crossing_does_not_leave_the_ball():
    """The boundary is at 0.2999: a point 0.1 % beyond it leaves the ball of radius 0.3."""

    def oracle(candidates, batch):
        return candidates[:, 0, 0, 0] >= 0.2999

    images, counts = tf.zeros([2, 10, 10, 1]), tf.zeros([2], tf.int32)
    radius = tf.constant([0.3, 0.0])  # The second image has no point inside.
    batch = BoundaryBatch(images, counts, None, tf.cast(counts, tf.uint32))
    start = WalkState(images + 1, images, tf.zeros([2]), counts)
    active = tf.constant([True, True])
    found = walk("linf", 100).run(oracle, batch, start, (radius, counts), active)
    inside, beyond = np.max(found.best, axis=(1, 2, 3))
    assert 0.2999 <= inside <= 0.3
    assert beyond > 0.3001
    np.testing.assert_array_equal(found.queries, walk("linf", 100).min_queries)
