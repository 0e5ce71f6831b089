"""Square attack: no gradient, its schedule, and the values of its images."""

import numpy as np
import tensorflow as tf

from tfdefense.attacks import Square


def test_it_needs_no_gradient(victim, victim_images, victim_labels):
    def rounded(images):
        return victim(tf.round(8 * images) / 8)

    labels = np.argmax(rounded(victim_images), 1).astype(np.int32)
    result = Square(epsilon=0.3, queries=500).run(rounded, victim_images, labels)
    assert np.mean(result.success) > 0.5
    assert not np.asarray(result.gradients).any()


def test_more_queries_are_never_weaker(victim, victim_images, victim_labels):
    def success(queries):
        return np.mean(
            Square(epsilon=0.2, queries=queries).run(victim, victim_images, victim_labels).success
        )

    success_rates = [success(queries) for queries in (1, 30, 1000)]
    assert success_rates == sorted(success_rates)
    assert success_rates[-1] > success_rates[0]


def test_values_are_at_epsilon_or_at_the_ends_of_the_range(victim, victim_images, victim_labels):
    found = Square(epsilon=0.2, queries=100).run(victim, victim_images, victim_labels)
    images, moved = found.images.numpy(), np.asarray(found.linf) > 0
    offset = np.abs(images - victim_images)[moved]
    at_end = (images[moved] == 0) | (images[moved] == 1)
    assert np.all(at_end | (np.abs(offset - 0.2) < 1e-6))


def test_squares_shrink_as_in_the_paper():
    """The area is halved at these of 10,000 queries; the side is sqrt(area * h * w)."""
    sides = Square(queries=10_000).square_sides(28, 28)
    halvings = (10, 50, 200, 500, 1000, 2000, 4000, 6000, 8000)
    for number, query in enumerate((0, *halvings)):
        assert sides[query] == max(round((0.8 / 2**number) ** 0.5 * 28), 1)


def test_in_l2_success_grows_with_queries_and_radius(victim, victim_images, victim_labels):
    def success(epsilon, queries):
        attack = Square(epsilon=epsilon, queries=queries, norm="l2")
        return np.mean(attack.run(victim, victim_images, victim_labels).success)

    assert success(2.0, 20) <= success(2.0, 400)
    assert success(1.0, 200) <= success(2.0, 200) <= success(4.0, 200)
    assert success(4.0, 400) > 0.8
