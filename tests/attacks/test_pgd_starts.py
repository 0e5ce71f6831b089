"""PGD from corners of the ball: blocks and stripes of one sign."""

import numpy as np
import tensorflow as tf

from tfdefense.attacks import PGD
from tfdefense.attacks.core import per_image_random
from tfdefense.attacks.pgd import block_signs


def test_signs_are_equal_within_blocks_and_drawn_for_each_image():
    images = tf.random.stateless_uniform([200, 16, 16, 3], [0, 0])
    signs = np.asarray(block_signs(per_image_random.image_keys(images, 0), images, 0))
    assert set(np.unique(signs)) == {-1.0, 1.0}
    found = set()
    for image in signs:
        heights, widths = (
            max(
                side
                for side in (1, 2, 4, 8, 16)
                if np.array_equal(
                    image, np.repeat(image.take(range(0, 16, side), axis), side, axis)
                )
            )
            for axis in (0, 1)
        )
        found.add((heights, widths))
    assert {(16, 1), (1, 16), (1, 1), (4, 4), (16, 16)} <= found
    assert abs(signs.mean()) < 0.1
    again = np.asarray(block_signs(per_image_random.image_keys(images[7:8], 0), images[7:8], 0))
    np.testing.assert_array_equal(again[0], signs[7])


def test_a_gradient_that_is_there_at_corners_alone_is_found():
    """The model sees nothing until an 8x8 block is brighter than 0.2 on average, which uniform noise on black never is."""

    def model(images):
        blocks = tf.nn.avg_pool2d(images, 8, 8, "VALID")
        seen = tf.reduce_max(tf.nn.relu(blocks - 0.2), axis=(1, 2, 3))
        # A gradient of zero everywhere is refused as a broken model; this one always has a little, in the wrong place.
        return tf.stack([tf.fill(tf.shape(seen), 0.3) - 1e-3 * images[:, 0, 0, 0], 10 * seen], -1)

    images, labels = np.zeros([20, 16, 16, 1], np.float32), np.zeros(20, np.int32)
    images[:, 0, 0, 0] = np.linspace(
        0, 0.02, 20
    )  # Draws belong to the image: equal ones would draw alike.
    given = {"epsilon": 0.3, "steps": 5, "relative_step_size": 0.5, "restarts": 4}
    uniform = PGD(**given).run(model, images, labels)
    blocks = PGD(**given, start="blocks").run(model, images, labels)
    assert not np.any(uniform.success)
    assert np.mean(blocks.success) > 0.9
