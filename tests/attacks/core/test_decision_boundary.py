"""Searches along a boundary: algorithm 1, the step, and the estimate of the normal."""

import numpy as np
import pytest
import tensorflow as tf

from tfdefense.attacks.core import decision_boundary, norms, per_image_random
from tfdefense.attacks.core.decision_boundary import (
    BoundaryBatch,
    NoiseSamples,
    decision_oracle,
    estimate_normal,
    search_boundary,
    step_along,
)

SHAPE = (6, 6, 1)


@pytest.fixture(scope="module")
def normal():
    """Unit normal of the boundary of `model`."""
    direction = np.random.default_rng(0).normal(size=SHAPE)
    return (direction / np.linalg.norm(direction)).astype(np.float32)


@pytest.fixture(scope="module")
def oracle(normal):
    """Images on the side of the normal have class 1; the grey image is on the boundary."""

    def model(images):
        height = tf.reduce_sum((images - 0.5) * normal, axis=(1, 2, 3))
        return tf.stack([-height, height], 1)

    return decision_oracle(model)


@pytest.fixture(scope="module")
def batch(normal):
    """Four images of class 0 at distances of 0.1 to 0.4 from the boundary."""
    heights = np.array([0.1, 0.2, 0.3, 0.4], np.float32)[:, None, None, None]
    images = tf.constant(0.5 - heights * normal)
    keys = per_image_random.image_keys(images, 0)
    return BoundaryBatch(images, tf.zeros([4], tf.int32), None, keys)


def heights_of(points, normal):
    return np.sum((np.asarray(points) - 0.5) * normal, axis=(1, 2, 3))


@pytest.mark.parametrize("norm", ["l2", "linf"])
def test_a_search_ends_on_the_adversarial_side_of_the_boundary(norm, oracle, batch, normal):
    points = tf.constant(np.tile(0.5 + normal, (4, 1, 1, 1)).clip(0, 1).astype(np.float32))
    found = search_boundary(oracle, batch, points, norm, 12)
    assert np.asarray(oracle(found, batch)).all()
    heights = heights_of(found, normal)
    assert (heights > 0).all()
    assert (heights < 3 / 2**12 * 6).all()
    between = np.asarray(norms.lp_norm(found - batch.images, norm))
    assert (between <= np.asarray(norms.lp_norm(points - batch.images, norm))).all()


def test_a_step_is_halved_until_its_end_is_adversarial(oracle, batch, normal):
    points = tf.constant(np.tile(0.5 + 0.1 * normal, (4, 1, 1, 1)).astype(np.float32))
    lengths = np.array([0.05, 0.15, 0.3, 100])[:, None, None, None]
    steps = tf.constant((-lengths * normal).astype(np.float32))
    moved, queries = step_along(oracle, batch, points, steps, 4)
    np.testing.assert_array_equal(queries, [1, 2, 3, 4])
    expected = [0.05, 0.1 - 0.075, 0.1 - 0.075, 0.1]
    np.testing.assert_allclose(heights_of(moved, normal), expected, atol=1e-5)


@pytest.mark.parametrize("norm", ["l2", "linf"])
def test_the_estimate_points_along_the_normal(norm, oracle, batch, normal):
    points = tf.constant(np.full((4, *SHAPE), 0.5, np.float32))
    counts = tf.constant([50, 500, 5000, 1])
    samples = NoiseSamples(tf.fill([4], 0.05), counts, tf.zeros([4], tf.int32))
    found = np.asarray(estimate_normal(oracle, batch, points, samples, norm))
    lengths = np.linalg.norm(found.reshape(4, -1), axis=1)
    cosines = np.sum(found * normal, axis=(1, 2, 3)) / lengths
    assert cosines[2] > cosines[1] > cosines[0] > 0.3
    assert cosines[2] > 0.97


@pytest.mark.slow
def test_the_estimate_does_not_depend_on_the_size_of_a_call(oracle, batch, monkeypatch):
    points = tf.constant(np.full((4, *SHAPE), 0.5, np.float32))
    samples = NoiseSamples(tf.fill([4], 0.05), tf.constant([7, 90, 33, 1]), tf.range(4))
    found = []
    for largest in (1, 36 * 10, 2**20):
        monkeypatch.setattr(decision_boundary, "_MAX_VALUES", largest)
        found.append(np.asarray(estimate_normal(oracle, batch, points, samples, "l2")))
    np.testing.assert_array_equal(found[0], found[2])
    np.testing.assert_array_equal(found[1], found[2])


def test_far_from_the_boundary_the_estimate_is_the_mean_noise(oracle, batch, normal):
    """All neighbours are adversarial, or none, so the mean of phi must not be subtracted."""
    points = tf.constant(np.stack([0.5 + 0.4 * normal, 0.5 - 0.4 * normal] * 2))
    samples = NoiseSamples(tf.fill([4], 0.01), tf.fill([4], 20), tf.zeros([4], tf.int32))
    found = np.asarray(estimate_normal(oracle, batch, points, samples, "l2"))
    assert (np.linalg.norm(found.reshape(4, -1), axis=1) > 1).all()
