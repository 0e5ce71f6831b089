"""Gradients by the images that are not finite."""

import numpy as np
import pytest
import tensorflow as tf

from tfdefense.attacks import APGDCE, BIM, FGSM, PGD, CarliniWagnerL2, DeepFool

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


def gamma_model(images, sign=1.0):
    """Return logits of two classes by the sum of roots, whose gradient is infinite at 0."""
    total = sign * (tf.reduce_sum(tf.sqrt(images), axis=(1, 2, 3)) - 12.9)
    return tf.stack([-total, total], axis=1)


@pytest.mark.parametrize("attack", [FGSM(epsilon=0.1), BIM(epsilon=0.1)])
def test_pixels_with_an_infinite_gradient_move_along_it(attack):
    changed = attack(gamma_model, IMAGES, np.zeros(2, np.int32)).numpy()
    np.testing.assert_allclose(changed, IMAGES + 0.1, atol=1e-6)


@pytest.mark.slow
@pytest.mark.parametrize(
    "attack",
    [
        PGD(epsilon=2.0, norm="l2", steps=20, start="uniform"),
        DeepFool(steps=50),
        CarliniWagnerL2(searches=3, steps=60),
    ],
)
@pytest.mark.parametrize("sign", [1.0, -1.0])
def test_attacks_in_l2_move_the_other_pixels_too(attack, sign):
    """Black pixels with an infinite gradient may point out of the box."""

    def model(images):
        return gamma_model(images, sign)

    label = int(np.argmax(model(IMAGES)[0]))
    assert attack.run(model, IMAGES, np.full(2, label, np.int32)).success.numpy().all()


def test_deepfool_moves_the_other_pixels():
    changed = DeepFool(steps=3)(root_model, IMAGES, np.zeros(2, np.int32)).numpy()
    assert np.all(np.isfinite(changed))
    assert np.all(changed[:, 3:] < 0.5)
