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


def test_without_momentum_it_is_bim(victim, victim_images, victim_labels):
    bim = BIM(epsilon=0.1)(victim, victim_images, victim_labels)
    mim = MIM(epsilon=0.1, decay=0.0)(victim, victim_images, victim_labels)
    np.testing.assert_allclose(mim, bim, atol=1e-6)
