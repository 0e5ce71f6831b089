"""Square: gradient-free, its schedule, and what it may do to an image."""

import numpy as np
import tensorflow as tf

from tfdefense.attacks import BIM, Square, bpda


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
    for number, start in enumerate((0, *halvings)):
        assert sides[start] == max(round((0.8 / 2**number) ** 0.5 * 28), 1)


def test_bpda_lets_gradients_through_what_square_does_not_mind(
    victim, victim_images, victim_labels
):
    one_bit = bpda(lambda images: tf.round(4 * images) / 4)

    def guarded(images):
        return victim(one_bit(images))

    labels = np.argmax(guarded(victim_images), 1).astype(np.int32)
    result = BIM(epsilon=0.3, stop_at_success=True).run(guarded, victim_images, labels)
    assert np.mean(result.success) > 0.9
