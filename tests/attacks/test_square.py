"""Square attack: no gradient, its schedule, and the values of its images."""

import math

import numpy as np
import pytest
import tensorflow as tf

from tfdefense.attacks import Square, square
from tfdefense.attacks.core import per_image_random
from tfdefense.attacks.core.square_l2_moves import random_starts


@pytest.mark.slow
def test_it_needs_no_gradient(victim, victim_images, victim_labels):
    def rounded(images):
        return victim(tf.round(8 * images) / 8)

    labels = np.argmax(rounded(victim_images), 1).astype(np.int32)
    result = Square(epsilon=0.3, queries=500).run(rounded, victim_images, labels)
    assert np.mean(result.success) > 0.5
    assert not np.asarray(result.gradients).any()


@pytest.mark.slow
def test_more_queries_are_never_weaker(victim, victim_images, victim_labels):
    def success(queries):
        return np.mean(
            Square(epsilon=0.2, queries=queries).run(victim, victim_images, victim_labels).success
        )

    success_rates = [success(queries) for queries in (1, 30, 1000)]
    assert success_rates == sorted(success_rates)
    assert success_rates[-1] > success_rates[0]


@pytest.mark.slow
def test_values_are_at_epsilon_or_at_the_ends_of_the_range(victim, victim_images, victim_labels):
    found = Square(epsilon=0.2, queries=100).run(victim, victim_images, victim_labels)
    images, moved = found.images.numpy(), np.asarray(found.linf) > 0
    offset = np.abs(images - victim_images)[moved]
    at_end = (images[moved] == 0) | (images[moved] == 1)
    assert np.all(at_end | (np.abs(offset - 0.2) < 1e-6))


def published_side(query, queries, first_area, *, rescale):
    """Return the side of the square as the published code computes it, for 28x28 pixels."""
    if rescale:
        query = int(query / queries * 10_000)
    after = [10, 50, 200, 500, 1000, 2000, 4000, 6000, 8000]
    area = first_area / 2 ** sum(query > each for each in after)
    return min(max(round(math.sqrt(area * 28 * 28)), 1), 28)


@pytest.mark.parametrize("rescale", [True, False])
@pytest.mark.parametrize("queries", [37, 5_000, 10_000])
def test_squares_shrink_as_in_the_published_code(queries, rescale):
    attack = Square(queries=queries, rescale_schedule=rescale)
    expected = [published_side(query, queries, 0.8, rescale=rescale) for query in range(queries)]
    np.testing.assert_array_equal(attack.square_sides(28, 28), expected)


def test_without_rescaling_5000_queries_never_reach_the_smallest_squares():
    """As in AutoAttack: of the halvings, at 10,000 queries, two are left out."""
    assert Square(rescale_schedule=False).square_sides(28, 28)[-1] == 2
    assert Square().square_sides(28, 28)[-1] == 1


def test_squares_never_reach_the_last_row_or_column():
    """As in the published code; the stripes and bumps of the start do."""
    images = np.random.default_rng(0).uniform(0.4, 0.6, (30, 12, 11, 1)).astype(np.float32)
    keys = per_image_random.image_keys(tf.constant(images), 0)
    starts = [random_starts(keys, 12, 3, stream).numpy() for stream in range(50)]
    assert set(np.ravel(starts)) == set(range(9))
    assert not random_starts(keys, 12, 12, 0).numpy().any()


def test_it_starts_with_vertical_stripes_of_each_channel():
    """A square that does not lower the margin is not kept, so the start of a flat model remains."""
    images = np.random.default_rng(0).uniform(0.4, 0.6, (2, 12, 11, 2)).astype(np.float32)
    attack = Square(epsilon=0.2, queries=1)
    result = attack(lambda images: 0 * images[:, 0, 0] + [2.0, -1.0], images, np.zeros(2, np.int32))
    stripes = np.round((result - images) / 0.2, 4)
    assert set(stripes.ravel()) == {-1, 1}
    np.testing.assert_array_equal(stripes, np.repeat(stripes[:, :1], 12, axis=1))
    assert np.any(stripes[:, :, 1:] != stripes[:, :, :-1])
    assert np.any(stripes[..., 0] != stripes[..., 1])


def test_a_square_has_a_sign_for_each_channel():
    images = np.random.default_rng(0).random((30, 12, 11, 2), np.float32)
    keys = per_image_random.image_keys(tf.constant(images), 0)
    found = square._random_square(keys, tf.constant(images), tf.constant(3), 1).numpy()
    corners = found.min(axis=(1, 2)) + found.max(axis=(1, 2))  # One of them is 0, outside.
    assert {tuple(each) for each in corners} == {(-1, -1), (-1, 1), (1, -1), (1, 1)}
    np.testing.assert_array_equal(found.sum(axis=(1, 2)), 9 * corners)


@pytest.mark.slow
def test_in_l2_success_grows_with_queries_and_radius(victim, victim_images, victim_labels):
    def success(epsilon, queries):
        attack = Square(epsilon=epsilon, queries=queries, norm="l2")
        return np.mean(attack.run(victim, victim_images, victim_labels).success)

    assert success(2.0, 20) <= success(2.0, 400)
    assert success(1.0, 200) <= success(2.0, 200) <= success(4.0, 200)
    assert success(4.0, 400) > 0.8
