"""PGD: restarts, seeds and random starts."""

import numpy as np
import pytest
import tensorflow as tf

from tfdefense.attacks import PGD
from tfdefense.attacks.core import per_image_random
from tfdefense.attacks.pgd import block_signs


@pytest.mark.slow
def test_results_repeat_and_depend_on_the_seed(victim, victim_images, victim_labels):
    def craft(seed):
        return PGD(epsilon=0.1, steps=2, seed=seed)(victim, victim_images, victim_labels)

    np.testing.assert_array_equal(craft(0), craft(0))
    assert np.abs(craft(0) - craft(1)).max() > 0


@pytest.mark.slow
def test_more_restarts_are_never_weaker(victim, victim_images, victim_labels):
    def success_and_loss(restarts):
        attack = PGD(epsilon=0.15, steps=3, restarts=restarts)
        logits = victim(attack(victim, victim_images, victim_labels))
        loss = tf.nn.sparse_softmax_cross_entropy_with_logits(victim_labels, logits).numpy()
        return np.argmax(logits, 1) != victim_labels, loss

    (success_of_one, one), (success_of_four, four) = success_and_loss(1), success_and_loss(4)
    assert np.all(success_of_four >= success_of_one)
    same = success_of_one == success_of_four
    assert np.all(four[same] >= one[same] - 1e-5)
    assert four.mean() > one.mean()


def test_block_signs_are_equal_within_blocks_and_drawn_per_image():
    images = tf.random.stateless_uniform([200, 16, 16, 3], [0, 0])
    signs = np.asarray(block_signs(per_image_random.image_keys(images, 0), images, 0))
    assert set(np.unique(signs)) == {-1.0, 1.0}
    block_shapes = set()
    for image in signs:
        height, width = (
            max(
                side
                for side in (1, 2, 4, 8, 16)
                if np.array_equal(
                    image, np.repeat(image.take(range(0, 16, side), axis), side, axis)
                )
            )
            for axis in (0, 1)
        )
        block_shapes.add((height, width))
    assert {(16, 1), (1, 16), (1, 1), (4, 4), (16, 16)} <= block_shapes
    assert abs(signs.mean()) < 0.1
    again = np.asarray(block_signs(per_image_random.image_keys(images[7:8], 0), images[7:8], 0))
    np.testing.assert_array_equal(again[0], signs[7])


def test_images_of_more_than_32_pixels_have_stripes_too():
    images = tf.random.stateless_uniform([100, 40, 48, 1], [0, 0])
    find_signs = tf.function(block_signs, autograph=False).get_concrete_function(
        tf.TensorSpec([None], tf.uint32), tf.TensorSpec([None, None, None, 1]), 0
    )
    keys = per_image_random.image_keys(images, 0)
    signs = np.asarray(block_signs(keys, images, 0))
    np.testing.assert_array_equal(find_signs(keys, images), signs)  # With unknown sides too.
    is_column, is_row = (np.all(signs == signs.take([0], axis), axis=(1, 2, 3)) for axis in (1, 2))
    assert 0.08 < is_column.mean() < 0.25  # One of seven sides, except for accidents.
    assert 0.08 < is_row.mean() < 0.25


@pytest.mark.slow
def test_start_at_corners_finds_a_gradient_that_only_corners_have():
    """The logits change if an 8x8 block is brighter than 0.2 on average; noise on black is not."""

    def model(images):
        blocks = tf.nn.avg_pool2d(images, 8, 8, "VALID")
        brightness = tf.reduce_max(tf.nn.relu(blocks - 0.2), axis=(1, 2, 3))
        # One pixel has a small gradient everywhere, because a gradient of zero is reported.
        first = tf.fill(tf.shape(brightness), 0.3) - 1e-3 * images[:, 0, 0, 0]
        return tf.stack([first, 10 * brightness], -1)

    images, labels = np.zeros([20, 16, 16, 1], np.float32), np.zeros(20, np.int32)
    # The random numbers depend on the image, so equal images would have equal starts.
    images[:, 0, 0, 0] = np.linspace(0, 0.02, 20)
    options = {"epsilon": 0.3, "steps": 5, "relative_step_size": 0.5, "restarts": 4}
    uniform = PGD(**options).run(model, images, labels)
    blocks = PGD(**options, start="blocks").run(model, images, labels)
    assert not np.any(uniform.success)
    assert np.mean(blocks.success) > 0.9
