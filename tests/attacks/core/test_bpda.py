"""BPDA: values of one function, gradient of another."""

import numpy as np
import pytest
import tensorflow as tf

from tfdefense.attacks import BIM, bpda
from tfdefense.errors import UserError
from tfdefense.networks.surrogates import use_surrogates


def gradient(function, images):
    x = tf.constant(images)
    with tf.GradientTape() as tape:
        tape.watch(x)
        y = tf.reduce_sum(3 * function(x))
    return tape.gradient(y, x)


def test_values_are_of_forward_and_gradients_of_backward(victim_images):
    identity = bpda(tf.round)
    np.testing.assert_array_equal(identity(victim_images), np.round(victim_images))
    np.testing.assert_array_equal(gradient(identity, victim_images), np.full_like(victim_images, 3))
    squared = bpda(tf.round, backward=tf.square)
    np.testing.assert_array_equal(squared(victim_images), np.round(victim_images))
    np.testing.assert_allclose(gradient(squared, victim_images), 6 * victim_images, rtol=1e-6)


@pytest.mark.slow
def test_forward_can_be_python_code_with_variables(victim, victim_images, victim_labels):
    scale = tf.Variable(1.0)

    def outside(images):
        return tf.numpy_function(lambda a: np.round(a, 1), [scale * images], tf.float32)

    for step in (bpda(outside), bpda(outside, backward=lambda images: 0.9 * images)):

        def guarded(images, step=step):
            return victim(step(images))

        result = BIM(epsilon=0.3, stop_at_success=True).run(guarded, victim_images, victim_labels)
        assert np.mean(result.success) > 0.9


def test_gradient_attacks_work_through_rounding(victim, victim_images, victim_labels):
    rounding = bpda(lambda images: tf.round(4 * images) / 4)

    def guarded(images):
        return victim(rounding(images))

    labels = np.argmax(guarded(victim_images), 1).astype(np.int32)
    result = BIM(epsilon=0.3, stop_at_success=True).run(guarded, victim_images, labels)
    assert np.mean(result.success) > 0.9


def test_one_of_several_backwards_is_chosen_by_its_name(victim_images):
    step = bpda(tf.round, {"identity": None, "square": tf.square})
    np.testing.assert_array_equal(gradient(step, victim_images), np.full_like(victim_images, 3))
    with use_surrogates("square"):
        np.testing.assert_array_equal(step(victim_images), np.round(victim_images))
        chosen = gradient(step, victim_images)
    np.testing.assert_allclose(chosen, 6 * victim_images, rtol=1e-6)
    with pytest.raises(UserError, match="at least one needed"):
        bpda(tf.round, {})
