"""Random numbers that depend on the image: their distribution and their independence."""

import numpy as np
import pytest
import scipy.stats
import tensorflow as tf

from tfdefense.attacks.core import per_image_random


def make_keys(count=64, seed=0):
    images = np.random.default_rng(0).random((count, 6, 6, 1), np.float32)
    return per_image_random.image_keys(tf.constant(images), seed)


def test_uniform_numbers_are_uniform_and_uncorrelated():
    found = per_image_random.uniform(make_keys(), [28, 28], stream=3).numpy()
    assert found.shape == (64, 28, 28)
    assert found.min() >= 0
    assert found.max() < 1
    assert scipy.stats.kstest(found.ravel(), "uniform").pvalue > 1e-3
    flat = found.reshape(64, -1)
    between = np.corrcoef(flat)[~np.eye(64, dtype=bool)]
    np.testing.assert_allclose(between, 0, atol=6 / 28)
    neighbours = np.corrcoef(flat[:, 1:].ravel(), flat[:, :-1].ravel())[0, 1]
    np.testing.assert_allclose(neighbours, 0, atol=0.03)


def test_normal_numbers_are_normal():
    found = per_image_random.normal(make_keys(), [30, 30], stream=0).numpy()
    assert np.isfinite(found).all()
    assert scipy.stats.kstest(found.ravel(), "norm").pvalue > 1e-3


def test_streams_seeds_and_images_are_independent_and_repeat():
    first = per_image_random.uniform(make_keys(), [50], 0).numpy()
    np.testing.assert_array_equal(first, per_image_random.uniform(make_keys(), [50], 0))
    for other in (
        per_image_random.uniform(make_keys(), [50], 1),
        per_image_random.uniform(make_keys(seed=1), [50], 0),
    ):
        assert abs(np.corrcoef(first.ravel(), other.numpy().ravel())[0, 1]) < 0.1
    one_pixel = np.zeros((2, 6, 6, 1), np.float32)
    one_pixel[1, 3, 3, 0] = 1e-3
    two = per_image_random.uniform(
        per_image_random.image_keys(tf.constant(one_pixel), 0), [500], 0
    ).numpy()
    assert abs(np.corrcoef(two)[0, 1]) < 0.2


def test_draws_are_independent_and_belong_to_the_image():
    images = tf.constant(np.random.default_rng(0).random((64, 6, 6, 1), np.float32))

    def numbers(draw):
        return per_image_random.uniform(per_image_random.image_keys(images, 0, draw), [50], 0)

    stream = [per_image_random.draw_in_stream(1, number) for number in range(2)]
    found = np.array([numbers(draw) for draw in (None, 0, 1, *stream)]).reshape(5, -1)
    np.testing.assert_allclose(np.corrcoef(found), np.eye(5), atol=0.1)
    each = numbers(tf.constant([0, 1] * 32))
    np.testing.assert_array_equal(each[:2], [numbers(0)[0], numbers(1)[1]])


def test_integers_and_signs_cover_their_range_evenly():
    found = per_image_random.integers(make_keys(4000), 5, 0).numpy()
    np.testing.assert_allclose(np.bincount(found, minlength=5) / 4000, 0.2, atol=0.03)
    signs = per_image_random.signs(make_keys(4000), [], 0).numpy()
    assert set(signs) == {-1.0, 1.0}
    assert abs(signs.mean()) < 0.06


@pytest.mark.parametrize("drawn", [0.0, 1 - 2.0**-24, 0.5])
def test_normal_numbers_are_finite_for_every_uniform_number(monkeypatch, drawn):
    monkeypatch.setattr(
        per_image_random, "uniform", lambda keys, shape, stream: tf.fill([2, 3], drawn)
    )
    numbers = per_image_random.normal(tf.constant([1, 2], tf.uint32), [3], 0)
    assert np.isfinite(numbers).all()
    assert np.abs(numbers).max() < 6
