"""BIM against a loop in NumPy and against cleverhans."""

import dataclasses

import numpy as np
import pytest
import tensorflow as tf
from cleverhans.tf2.attacks.projected_gradient_descent import projected_gradient_descent

from tfdefense.attacks import BIM


@pytest.mark.slow
def test_it_is_the_loop_of_the_paper(linear, linear_images):
    images, labels = linear_images
    expected = images
    for _ in range(6):
        expected = expected + 0.05 * np.sign(linear.gradient(expected, labels))
        expected = np.clip(np.clip(expected, images - 0.1, images + 0.1), 0, 1)
    attack = BIM(epsilon=0.1, steps=6, relative_step_size=0.5)
    np.testing.assert_allclose(attack(linear, images, labels), expected, atol=1e-6)


def test_it_is_the_attack_of_cleverhans(victim, victim_images, victim_labels):
    """Only in linf: in l2 cleverhans clips to [0, 1] before it projects into the ball."""
    expected = projected_gradient_descent(
        model_fn=victim,
        x=tf.constant(victim_images),
        eps=0.1,
        eps_iter=0.3 * 0.1,
        nb_iter=6,
        norm=np.inf,
        clip_min=0.0,
        clip_max=1.0,
        y=tf.constant(victim_labels),
        sanity_checks=False,
    )
    attack = BIM(epsilon=0.1, steps=6, relative_step_size=0.3)
    found = attack(victim, victim_images, victim_labels)
    np.testing.assert_allclose(found, expected, atol=2e-5)


@pytest.mark.slow
def test_stop_at_success_keeps_every_success(victim, victim_images, victim_labels):
    """A successful iterate is kept, so at least as many images fool the model."""
    plain = BIM(epsilon=0.4, steps=10, relative_step_size=1.0)
    stopping = dataclasses.replace(plain, stop_at_success=True)
    success = plain.run(victim, victim_images, victim_labels).success.numpy()
    with_stop = stopping.run(victim, victim_images, victim_labels).success.numpy()
    assert np.all(with_stop >= success)
    assert with_stop.any()
