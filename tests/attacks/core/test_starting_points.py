"""Random images as starting points."""

import numpy as np
import tensorflow as tf

from tfdefense.attacks.core import per_image_random
from tfdefense.attacks.core.decision_boundary import BoundaryBatch
from tfdefense.attacks.core.starting_points import (
    find_starting_points,
    lacks_starting_point,
    random_images,
)


def make_batch(count=6):
    images = tf.constant(np.random.default_rng(0).random((count, 16, 16, 2)).astype(np.float32))
    keys = per_image_random.image_keys(images, 0)
    return BoundaryBatch(images, tf.zeros([count], tf.int32), None, keys)


def test_random_images_are_uniform_noise_and_then_blocks():
    batch = make_batch()
    for number, side in enumerate((1, 2, 4, 8, 1)):
        images = np.asarray(random_images(batch, tf.constant(number)))
        corners = images[:, ::side, ::side]
        np.testing.assert_array_equal(images, corners.repeat(side, 1).repeat(side, 2))
        assert len(np.unique(corners)) > 0.9 * corners.size
        assert 0 <= images.min() < 0.2 < 0.8 < images.max() < 1


def test_each_image_is_tried_until_one_is_adversarial():
    """The oracle accepts the image that is tried at the number that the label says."""
    batch = make_batch(4)
    wanted = np.array([0, 2, 5, 9])
    accepted = [np.asarray(random_images(batch, tf.constant(number))) for number in range(10)]

    def oracle(candidates, part):
        known = tf.constant(np.stack([accepted[number][row] for row, number in enumerate(wanted)]))
        same = tf.reduce_all(candidates[:, None] == known[None], axis=(2, 3, 4))
        return tf.reduce_any(same, axis=1)

    starts, found, queries = find_starting_points(oracle, batch, tf.constant([True] * 4), 8)
    np.testing.assert_array_equal(found, [True, True, True, False])
    np.testing.assert_array_equal(queries, [1, 3, 6, 8])
    np.testing.assert_array_equal(starts[1], accepted[2][1])


def test_an_unchanged_image_that_is_not_adversarial_lacks_a_start():
    missing = lacks_starting_point([True, False, False], [0.0, 0.0, 0.1])
    np.testing.assert_array_equal(missing, [False, True, False])
