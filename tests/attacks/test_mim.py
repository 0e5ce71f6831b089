"""MIM against cleverhans and against BIM."""

import numpy as np
import pytest
import tensorflow as tf
from cleverhans.tf2.attacks.momentum_iterative_method import momentum_iterative_method

from tfdefense.attacks import BIM, MIM


@pytest.mark.parametrize("norm", ["linf", "l2"])
def test_it_is_the_attack_of_cleverhans(norm, victim, victim_images, victim_labels):
    epsilon, order = (0.1, np.inf) if norm == "linf" else (1.0, 2)
    expected = momentum_iterative_method(
        model_fn=victim,
        x=tf.constant(victim_images),
        eps=epsilon,
        eps_iter=0.3 * epsilon,
        nb_iter=6,
        norm=order,
        clip_min=0.0,
        clip_max=1.0,
        y=tf.constant(victim_labels),
        sanity_checks=False,
    )
    attack = MIM(epsilon=epsilon, norm=norm, steps=6, relative_step_size=0.3)
    found = attack(victim, victim_images, victim_labels)
    np.testing.assert_allclose(found, expected, atol=2e-5)


def test_every_gradient_is_divided_by_its_mean_absolute_value():
    """The gradient of an image whose logit margin is 40 is about 4e-18."""
    gradient = tf.random.stateless_normal([3, 4, 4, 2], [0, 0])
    expected = gradient / tf.reduce_mean(tf.abs(gradient), axis=(1, 2, 3), keepdims=True)
    memory = tf.ones_like(gradient)
    for size in (1.0, 4e-18, 1e-30):
        momentum, _ = MIM(decay=0.5).update_direction(size * gradient, memory)
        np.testing.assert_allclose(momentum, 0.5 + expected, rtol=1e-5, atol=1e-5)
    momentum, _ = MIM(decay=0.5).update_direction(0 * gradient, memory)
    np.testing.assert_array_equal(momentum, 0.5 * memory)


def test_without_momentum_it_is_bim(victim, victim_images, victim_labels):
    bim = BIM(epsilon=0.1)(victim, victim_images, victim_labels)
    mim = MIM(epsilon=0.1, decay=0.0)(victim, victim_images, victim_labels)
    np.testing.assert_allclose(mim, bim, atol=1e-6)
