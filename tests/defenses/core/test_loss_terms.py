import numpy as np
import tensorflow as tf

from tfdefense.defenses.core.loss_terms import copy_per_loss_term, sum_gradients


def test_gradients_of_the_copies_add_up_to_the_gradient_of_the_loss():
    images = tf.constant(np.random.default_rng(0).random((2, 3, 3, 1)), tf.float32)
    with tf.GradientTape(watch_accessed_variables=False) as tape:
        first, second, third = copy_per_loss_term(tape, images, 3)
        loss = tf.reduce_sum(first**2) + 2 * tf.reduce_sum(second**3) + tf.reduce_sum(third)
    gradient = sum_gradients(tape.gradient(loss, [first, second, third]))
    np.testing.assert_allclose(gradient, 2 * images + 6 * images**2 + 1, rtol=1e-6)
