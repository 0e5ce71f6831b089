"""Search for the most salient pair, against a search over all pairs."""

import numpy as np
import pytest
import tensorflow as tf

from tfdefense.attacks.core.salient_pair import most_salient_pair


def highest_saliency(towards, away, free):
    """Return the highest saliency of all pairs that qualify, 0 if there is none."""
    best = 0.0
    for i in range(len(towards)):
        for j in range(i):
            a, c = towards[i] + towards[j], away[i] + away[j]
            if free[i] and free[j] and a > 0 and c > 0:
                best = max(best, a * c)
    return best


@pytest.mark.parametrize("correlation", [-0.99, -0.5, 0.0, 0.8])
def test_no_pair_has_a_higher_saliency(correlation):
    rng = np.random.default_rng(0)
    towards = rng.normal(size=(30, 40)).astype(np.float32)
    noise = rng.normal(size=(30, 40)).astype(np.float32)
    away = (correlation * towards + np.sqrt(1 - correlation**2) * noise).astype(np.float32)
    free = rng.random((30, 40)) < 0.7
    pairs = most_salient_pair(*map(tf.constant, (towards, away, free))).numpy()
    for row, (i, j) in enumerate(pairs):
        expected = highest_saliency(towards[row], away[row], free[row])
        if expected > 0:
            assert i != j
            assert free[row, i]
            assert free[row, j]
            found = (towards[row, i] + towards[row, j]) * (away[row, i] + away[row, j])
            np.testing.assert_allclose(found, expected, rtol=1e-5)


def test_equal_values_give_a_pair_of_two():
    ones = tf.ones([3, 6])
    pairs = most_salient_pair(ones, ones, ones > 0).numpy()
    assert np.all(pairs[:, 0] != pairs[:, 1])


def test_if_no_pair_qualifies_the_highest_sum_is_taken():
    towards, away = tf.constant([[3.0, -1.0, 2.0, -4.0]]), tf.constant([[-6.0, -1.0, -3.0, -1.0]])
    pair = most_salient_pair(towards, away, tf.ones([1, 4], tf.bool))
    assert set(pair.numpy()[0]) == {1, 2}


def test_gradients_of_zero_need_no_table_of_all_pairs(monkeypatch):
    def top_k(values, k):
        widths.append(int(k))
        return original(values, k)

    widths, original = [], tf.math.top_k
    monkeypatch.setattr(tf.math, "top_k", top_k)
    zeros = tf.zeros([1, 100])
    first, second = most_salient_pair(zeros, zeros, tf.ones([1, 100], tf.bool)).numpy()[0]
    assert first != second
    assert widths == [2]
