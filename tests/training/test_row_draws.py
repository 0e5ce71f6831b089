"""A replica's rows of random numbers have the bits of the rows of the whole batch."""

import numpy as np
import pytest
import tensorflow as tf

from tfdefense.training.row_draws import Rows, normal_rows, uniform_rows

SEED = (5, 2**40 + 3)


@pytest.mark.parametrize("row_shape", [(), (3,), (5, 7, 1)])
@pytest.mark.parametrize("first", [0, 1, 6, 23])
def test_rows_are_those_of_the_whole_batch(row_shape, first):
    seed = tf.constant(SEED, tf.int64)
    uniform = tf.random.stateless_uniform([30, *row_shape], seed)
    normal = tf.random.stateless_normal([30, *row_shape], seed)
    rows = Rows(tf.constant(first), 7)
    np.testing.assert_array_equal(uniform_rows(rows, row_shape, seed), uniform[first : first + 7])
    np.testing.assert_array_equal(normal_rows(rows, row_shape, seed), normal[first : first + 7])


def test_rows_in_bfloat16_are_those_of_the_whole_batch():
    seed = tf.constant([1, 2])
    expected = tf.random.stateless_uniform([8, 3], seed, dtype=tf.bfloat16)[3:5]
    drawn = uniform_rows(Rows(3, 2), [3], seed, tf.bfloat16)
    np.testing.assert_array_equal(drawn, expected)


def test_the_counter_carries_into_its_high_word():
    from tfdefense.training.row_draws import _advance

    counter = tf.constant([2**64 - 1, 4], tf.uint64)
    np.testing.assert_array_equal(_advance(counter, tf.constant(3, tf.uint64)), [2, 5])


def test_the_static_shape_is_known_in_a_graph():
    @tf.function
    def draw(first):
        drawn = normal_rows(Rows(first, 4), [2, 3], tf.constant([0, 1]))
        assert drawn.shape == (4, 2, 3)
        return drawn

    assert draw(tf.constant(8)).shape == (4, 2, 3)
