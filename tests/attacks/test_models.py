"""What attacks are let loose on: BPDA's steps, randomised models, whole pipelines."""

import numpy as np
import tensorflow as tf

from tfdefense.attacks import BIM, FGSM, Expectation
from tfdefense.attacks.core import bpda
from tfdefense.attacks.core.input_gradients import class_gradients, loss_gradient


def gradient(function, images):
    x = tf.constant(images)
    with tf.GradientTape() as tape:
        tape.watch(x)
        y = tf.reduce_sum(3 * function(x))
    return tape.gradient(y, x)


def test_bpda_has_the_values_of_one_and_the_gradient_of_the_other(victim_images):
    identity = bpda(tf.round)
    np.testing.assert_array_equal(identity(victim_images), np.round(victim_images))
    np.testing.assert_array_equal(gradient(identity, victim_images), np.full_like(victim_images, 3))
    squared = bpda(tf.round, backward=tf.square)
    np.testing.assert_array_equal(squared(victim_images), np.round(victim_images))
    np.testing.assert_allclose(gradient(squared, victim_images), 6 * victim_images, rtol=1e-6)


def test_bpda_takes_python_code_and_layers_with_weights(victim, victim_images, victim_labels):
    scale = tf.Variable(1.0)

    def outside(images):
        return tf.numpy_function(lambda a: np.round(a, 1), [scale * images], tf.float32)

    for step in (bpda(outside), bpda(outside, backward=lambda images: 0.9 * images)):

        def guarded(images, step=step):
            return victim(step(images))

        result = BIM(epsilon=0.3, stop_at_success=True).run(guarded, victim_images, victim_labels)
        assert np.mean(result.success) > 0.9


def test_expectation_takes_the_mean_gradient_over_its_draws(linear, linear_images):
    """Of a model that scales its logits by 1, 2, 3, 4 in turn."""
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
    loss, logits, slope = loss_gradient(expectation, tf.constant(images), total)
    _, _, plain = loss_gradient(linear, tf.constant(images), total)
    np.testing.assert_allclose(slope, 2.5 * plain, rtol=1e-4)
    np.testing.assert_allclose(loss, tf.reduce_sum(logits, 1), rtol=1e-3)
    _, several = class_gradients(expectation, tf.constant(images), directions)
    _, single = class_gradients(linear, tf.constant(images), directions)
    np.testing.assert_allclose(several, 2.5 * single, rtol=1e-4)


def test_more_draws_come_nearer_to_the_mean_gradient(victim, victim_images):
    noise = tf.random.Generator.from_seed(1)

    def noisy(images):
        return victim(images + 0.3 * noise.normal(tf.shape(images)))

    def slope(draws):
        found = loss_gradient(
            Expectation(noisy, draws), tf.constant(victim_images), lambda logits: logits[:, 0]
        )
        return found[2].numpy().ravel()

    reference = slope(500)
    errors = [np.linalg.norm(slope(draws) - reference) for draws in (1, 10, 100)]
    assert errors[0] > 2 * errors[1] > 4 * errors[2]


def test_a_defended_pipeline_is_attacked_like_any_model(toy_model, toy_split):
    import tfdefense

    pipeline = tfdefense.defenses.APEGANPlusPlus(toy_model).defend()
    labels = np.argmax(pipeline(toy_split.images), 1).astype(np.int32)
    result = FGSM(epsilon=0.5).run(pipeline, toy_split.images, labels)
    assert np.asarray(result.linf).max() > 0.4
