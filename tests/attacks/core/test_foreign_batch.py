"""Batches for other libraries, and the verification of what they return."""

import numpy as np
import pytest
import tensorflow as tf

from tfdefense.attacks.core.foreign_batch import ForeignBatch, seeded_libraries, verify_images


@pytest.mark.parametrize(("norm", "size"), [("linf", 0.1), ("l2", 0.1), ("l1", 0.1)])
def test_verified_images_are_in_the_ball(norm, size):
    clean = np.full((2, 4, 4, 1), 0.5, np.float32)
    made = clean + np.array([0.3, 1e-4], np.float32)[:, None, None, None]
    found = verify_images(made, clean, size, norm, "x")
    change = np.abs(found.images - clean).reshape(2, -1)
    sizes = {"linf": change.max(1), "l2": np.linalg.norm(change, axis=1), "l1": change.sum(1)}
    np.testing.assert_allclose(sizes[norm][0], size, rtol=1e-4)
    np.testing.assert_allclose(found.images[1], made[1], atol=1e-7)
    assert found.outside == 1


def test_success_is_judged_by_labels_or_by_targets():
    logits = np.eye(3, dtype=np.float32)
    labels = np.array([0, 0, 0])
    untargeted = ForeignBatch(np.zeros((3, 1, 1, 1)), labels, None)
    np.testing.assert_array_equal(untargeted.is_fooled(logits), [False, True, True])
    targeted = untargeted._replace(targets=np.array([1, 1, 1]))
    np.testing.assert_array_equal(targeted.is_fooled(logits), [False, True, False])


def test_libraries_start_from_one_seed():
    with seeded_libraries():
        first = np.random.random()
    with seeded_libraries():
        assert np.random.random() == first


def test_generators_without_a_seed_get_one():
    def draw():
        states = np.random.RandomState(), np.random.RandomState(), np.random.RandomState(3)
        return [state.random_sample() for state in states] + [np.random.default_rng().random()]

    with seeded_libraries():
        first = draw()
    with seeded_libraries():
        assert draw() == first
    assert len(set(first)) == 4
    assert first[2] == np.random.RandomState(3).random_sample()
    assert np.random.RandomState().random_sample() != np.random.RandomState().random_sample()


def test_tensorflows_random_numbers_go_on():
    def draw():
        return float(tf.random.uniform([]))

    tf.random.set_seed(7)
    expected = [draw(), draw()]
    tf.random.set_seed(7)
    first = draw()
    with seeded_libraries():
        inside = draw()
    assert [first, draw()] == expected
    assert inside not in expected
