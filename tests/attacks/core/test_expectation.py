"""Randomised models in expectation over their draws."""

import numpy as np
import pytest
import tensorflow as tf

from tfdefense.attacks import Expectation
from tfdefense.attacks.core.input_gradients import class_gradients, loss_gradient
from tfdefense.errors import UserError


def test_gradient_is_the_mean_over_the_draws(linear, linear_images):
    """The model scales its logits by 1, 2, 3, 4 in turn."""
    images, _ = linear_images
    turn = tf.Variable(0.0)

    def scaled(images):
        return (turn.assign_add(1.0) % 4 + 1) * linear(images)

    def total(logits):
        return tf.reduce_sum(logits, axis=1)

    def directions(logits):
        return tf.eye(5, batch_shape=[len(logits)])

    expectation = Expectation(scaled, draws=4)
    np.testing.assert_allclose(expectation(images), 2.5 * linear(images), rtol=1e-4)
    loss, logits, gradient = loss_gradient(expectation, tf.constant(images), total)
    _, _, plain = loss_gradient(linear, tf.constant(images), total)
    np.testing.assert_allclose(gradient, 2.5 * plain, rtol=1e-4)
    np.testing.assert_allclose(loss, tf.reduce_sum(logits, 1), rtol=1e-3)
    _, several = class_gradients(expectation, tf.constant(images), directions)
    _, single = class_gradients(linear, tf.constant(images), directions)
    np.testing.assert_allclose(several, 2.5 * single, rtol=1e-4)


@pytest.mark.slow
def test_more_draws_give_a_gradient_closer_to_the_mean(victim, victim_images):
    noise = tf.random.Generator.from_seed(1)

    def noisy(images):
        return victim(images + 0.3 * noise.normal(tf.shape(images)))

    def gradient(draws):
        found = loss_gradient(
            Expectation(noisy, draws), tf.constant(victim_images), lambda logits: logits[:, 0]
        )
        return found[2].numpy().ravel()

    reference = gradient(500)
    errors = [np.linalg.norm(gradient(draws) - reference) for draws in (1, 10, 100)]
    assert errors[0] > 2 * errors[1] > 4 * errors[2]


@pytest.mark.parametrize("draws", [0, 2.5, "3"])
def test_draws_are_a_count(draws, linear):
    with pytest.raises(UserError, match=f"draws {draws} given, a whole number of at least 1"):
        Expectation(linear, draws)
