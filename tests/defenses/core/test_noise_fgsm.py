import numpy as np
import pytest
import tensorflow as tf

from tfdefense.defenses.core.noise_fgsm import NoiseFGSM
from tfdefense.errors import UserError

EPSILON = 0.1


def linear_model(images):
    """Two logits of which the first grows with every pixel."""
    total = tf.reduce_sum(images, axis=[1, 2, 3])
    return tf.stack([total, -total], axis=1)


def moves_of_grey_images(**options):
    """Return how the attack moves 64 images far from black and white."""
    images = np.full((64, 4, 4, 1), 0.5, np.float32)
    images += np.linspace(0, 0.01, 64, dtype=np.float32)[:, None, None, None]
    attack = NoiseFGSM(epsilon=EPSILON, seed=3, **options)
    return attack(linear_model, images, np.zeros(64, np.int32)).numpy() - images


def test_a_step_of_epsilon_follows_noise_of_twice_epsilon_without_projection():
    moved = moves_of_grey_images()
    noise = moved + EPSILON  # The gradient of the loss is negative at every pixel.
    assert np.abs(noise).max() <= 2 * EPSILON + 1e-6
    assert np.abs(noise).max() > 1.9 * EPSILON
    assert np.mean(noise) == pytest.approx(0, abs=0.02)
    assert np.std(noise) == pytest.approx(4 * EPSILON / np.sqrt(12), rel=0.1)
    assert np.abs(moved).max() > 2.5 * EPSILON  # It leaves the ball, which is its purpose.


def test_noise_is_the_largest_noise_in_multiples_of_epsilon():
    noise = moves_of_grey_images(noise=0.5) + EPSILON
    assert np.abs(noise).max() <= 0.5 * EPSILON + 1e-6
    assert np.abs(noise).max() > 0.45 * EPSILON


def test_the_step_starts_at_the_noisy_image_in_range():
    """As in the authors' code: black pixels with noise below 0 still rise by epsilon."""
    images, labels = np.zeros((16, 4, 4, 1), np.float32), np.ones(16, np.int32)
    images[:, 0, 0, 0] = np.linspace(0, 0.01, 16)  # Each image has other noise.
    moved = NoiseFGSM(epsilon=EPSILON, seed=3)(linear_model, images, labels).numpy()
    assert moved.min() == pytest.approx(EPSILON)
    assert np.mean(moved == np.float32(EPSILON)) == pytest.approx(0.5, abs=0.1)


def test_the_gradient_is_that_of_an_image_in_range():
    def confused_below_zero(images):
        logits = linear_model(images)
        return tf.where(tf.reduce_min(images) < 0, -logits, logits)

    images, labels = np.zeros((4, 4, 4, 1), np.float32), np.ones(4, np.int32)
    moved = NoiseFGSM(epsilon=EPSILON, seed=3)(confused_below_zero, images, labels).numpy()
    assert moved.min() > 0


def test_images_stay_in_range_and_the_noise_depends_on_image_and_seed_alone():
    images = np.random.default_rng(0).uniform(size=(6, 4, 4, 1)).astype(np.float32)
    labels = np.zeros(6, np.int32)
    attack = NoiseFGSM(epsilon=0.4, seed=1)
    moved = attack(linear_model, images, labels).numpy()
    assert moved.min() >= 0
    assert moved.max() <= 1
    np.testing.assert_array_equal(attack(linear_model, images[3:], labels[3:]), moved[3:])
    other = NoiseFGSM(epsilon=0.4, seed=2)(linear_model, images, labels).numpy()
    assert np.abs(other - moved).max() > 0.01


def test_only_linf_is_defined():
    with pytest.raises(UserError, match="l2"):
        NoiseFGSM(epsilon=0.1, norm="l2")
