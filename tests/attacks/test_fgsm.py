"""FGSM against closed forms."""

import numpy as np

from tfdefense.attacks import FGSM, FGSMPredicted


def test_on_a_linear_model_it_is_the_closed_form(linear, linear_images):
    images, labels = linear_images
    gradient = linear.gradient(images, labels)
    expected = np.clip(images + 0.2 * np.sign(gradient), 0, 1)
    np.testing.assert_allclose(FGSM(epsilon=0.2)(linear, images, labels), expected, atol=1e-6)
    length = np.linalg.norm(gradient.reshape(16, -1), axis=1)[:, None, None, None]
    expected = np.clip(images + 1.5 * gradient / length, 0, 1)
    found = FGSM(epsilon=1.5, norm="l2")(linear, images, labels)
    np.testing.assert_allclose(found, expected, atol=1e-5)


def test_with_a_target_it_descends_the_cross_entropy_of_the_target(linear, linear_images):
    images, labels = linear_images
    targets = (labels + 1) % 5
    expected = np.clip(images - 0.1 * np.sign(linear.gradient(images, targets)), 0, 1)
    found = FGSM(epsilon=0.1)(linear, images, labels, targets)
    np.testing.assert_allclose(found, expected, atol=1e-6)


def test_fgsm_predicted_ignores_the_labels(victim, victim_images, victim_labels):
    expected = FGSM(epsilon=0.1)(victim, victim_images, victim_labels)
    wrong = (victim_labels + 1) % 5
    found = FGSMPredicted(epsilon=0.1)(victim, victim_images, wrong)
    np.testing.assert_array_equal(found, expected)
