"""Square: gradient-free, its schedule, and what it may do to an image."""

import numpy as np
import pytest
import tensorflow as tf

from tfdefense.attacks import BIM, Square
from tfdefense.attacks.core import bpda, per_image_random
from tfdefense.attacks.core.square_l2_moves import Windows, bump, start


def test_needs_no_gradient(victim, victim_images, victim_labels):
    def rounded(images):
        return victim(tf.round(8 * images) / 8)

    labels = np.argmax(rounded(victim_images), 1).astype(np.int32)
    result = Square(epsilon=0.3, queries=500).run(rounded, victim_images, labels)
    assert np.mean(result.success) > 0.5
    assert not np.asarray(result.gradients).any()


def test_more_queries_are_never_weaker(victim, victim_images, victim_labels):
    def fell(queries):
        return np.mean(
            Square(epsilon=0.2, queries=queries).run(victim, victim_images, victim_labels).success
        )

    shares = [fell(queries) for queries in (1, 30, 1000)]
    assert shares == sorted(shares)
    assert shares[-1] > shares[0]


def test_values_lie_on_the_ball_or_at_the_ends(victim, victim_images, victim_labels):
    found = Square(epsilon=0.2, queries=100).run(victim, victim_images, victim_labels)
    images, moved = found.images.numpy(), np.asarray(found.linf) > 0
    offset = np.abs(images - victim_images)[moved]
    at_end = (images[moved] == 0) | (images[moved] == 1)
    assert np.all(at_end | (np.abs(offset - 0.2) < 1e-6))


def test_squares_shrink_as_in_the_paper():
    """Halved at these of 10,000 queries; a share p of the area is a side of sqrt(p * h * w)."""
    sides = Square(queries=10_000)._sides(28, 28)
    halvings = (10, 50, 200, 500, 1000, 2000, 4000, 6000, 8000)
    for number, query in enumerate((0, *halvings)):
        assert sides[query] == max(round((0.8 / 2**number) ** 0.5 * 28), 1)


def test_bpda_lets_gradients_through_what_square_does_not_mind(
    victim, victim_images, victim_labels
):
    one_bit = bpda(lambda images: tf.round(4 * images) / 4)

    def guarded(images):
        return victim(one_bit(images))

    labels = np.argmax(guarded(victim_images), 1).astype(np.int32)
    result = BIM(epsilon=0.3, stop_at_success=True).run(guarded, victim_images, labels)
    assert np.mean(result.success) > 0.9


@pytest.mark.parametrize("side", [3, 5, 8])
def test_bump_is_equation_2(side):
    """eta_{r,s} is the sum of 1 / (k + 1)^2 over the rings k that reach (r, s) from the middle."""
    expected = np.zeros((side, side))
    for first, rows, sign in ((0, side // 2, 1), (side // 2, side - side // 2, -1)):
        for k in range(max(rows // 2, side // 2) + 1):
            for r in range(rows):
                for c in range(side):
                    if abs(r - rows // 2) <= k and abs(c - side // 2) <= k:
                        expected[first + r, c] += sign / (k + 1) ** 2
    np.testing.assert_allclose(bump(side), expected / np.linalg.norm(expected), rtol=1e-5)


def test_l2_candidates_lie_on_the_sphere_and_change_two_windows_only():
    images = tf.constant(np.full((6, 12, 12, 2), 0.5, np.float32))
    keys = per_image_random.image_keys(
        images + tf.random.stateless_uniform([6, 12, 12, 2], [0, 1]) / 100, 0
    )
    epsilon = tf.fill([6, 1, 1, 1], 0.7)
    best = start(keys, images, epsilon)
    np.testing.assert_allclose(tf.norm(tf.reshape(best - images, [6, -1]), axis=1), 0.7, rtol=1e-5)
    windows = Windows([3, 5, 12], most=12)
    for query, side in ((0, 3), (1, 5)):
        tried = windows.candidates(keys, images, best, epsilon, tf.constant(query))
        change = (tried - images).numpy()
        np.testing.assert_allclose(np.linalg.norm(change.reshape(6, -1), axis=1), 0.7, rtol=1e-5)
        # Up to a common factor, all but two windows are as they were.
        before = (best - images).numpy()
        for image in range(6):
            ratio = change[image] / np.where(before[image] == 0, np.inf, before[image])
            common = np.median(ratio[before[image] != 0])
            kept = np.isclose(change[image], common * before[image], atol=1e-6).all(-1)
            assert 0 < np.sum(~kept) <= 2 * side**2


def test_l2_falls_with_queries_and_radius(victim, victim_images, victim_labels):
    def fell(epsilon, queries):
        attack = Square(epsilon=epsilon, queries=queries, norm="l2")
        return np.mean(attack.run(victim, victim_images, victim_labels).success)

    assert fell(2.0, 20) <= fell(2.0, 400)
    assert fell(1.0, 200) <= fell(2.0, 200) <= fell(4.0, 200)
    assert fell(4.0, 400) > 0.8
