"""Gradients by the images that are not finite."""

import numpy as np
import pytest
import tensorflow as tf

from tfdefense.attacks import APGDCE, BIM, FGSM, DeepFool

IMAGES = np.full((2, 6, 6, 1), 0.5, np.float32)
IMAGES[:, :3] = 0.0


def root_model(images):
    """Return logits of two classes by the sum of roots of squares, whose gradient is NaN at 0."""
    total = tf.reduce_sum(tf.sqrt(images * images), axis=(1, 2, 3))
    return tf.stack([total, 9.0 - total], axis=1)


@pytest.mark.parametrize("attack", [FGSM(epsilon=0.1), BIM(epsilon=0.1), APGDCE(epsilon=0.1)])
def test_pixels_without_a_finite_gradient_make_no_image_of_nan(attack):
    with tf.GradientTape() as tape:
        tape.watch(images := tf.constant(IMAGES))
        logits = root_model(images)[:, 0]
    assert np.isnan(tape.gradient(logits, images)).any()
    changed = attack(root_model, IMAGES, np.zeros(2, np.int32)).numpy()
    np.testing.assert_allclose(changed[:, 3:], 0.4, atol=1e-6)
    assert np.all((changed[:, :3] >= 0) & (changed[:, :3] <= 0.1))


@pytest.mark.parametrize("attack", [FGSM(epsilon=0.1), BIM(epsilon=0.1)])
def test_pixels_with_an_infinite_gradient_move_along_it(attack):
    """A gamma correction has one at black pixels."""

    def model(images):
        total = tf.reduce_sum(tf.sqrt(images), axis=(1, 2, 3))
        return tf.stack([9.0 - total, total], axis=1)

    changed = attack(model, IMAGES, np.zeros(2, np.int32)).numpy()
    np.testing.assert_allclose(changed, IMAGES + 0.1, atol=1e-6)


def test_deepfool_moves_the_other_pixels():
    changed = DeepFool(steps=3)(root_model, IMAGES, np.zeros(2, np.int32)).numpy()
    assert np.all(np.isfinite(changed))
    assert np.all(changed[:, 3:] < 0.5)
