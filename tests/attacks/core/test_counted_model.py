"""Model that counts its passes."""

import gc
import weakref

import numpy as np
import pytest
import tensorflow as tf

from tfdefense.attacks import Expectation
from tfdefense.attacks.core.counted_model import CountedModel, counted_model


def test_it_has_the_logits_and_the_gradient_of_the_model(toy_model, toy_images):
    counted = CountedModel(toy_model, (12, 12, 1))
    images = tf.constant(toy_images)
    assert counted.num_classes == 3
    np.testing.assert_allclose(counted(images), toy_model(images), atol=1e-6)
    gradients = []
    for model in (counted, toy_model):
        with tf.GradientTape() as tape:
            tape.watch(images)
            loss = tf.reduce_sum(model(images)[:, 0])
        gradients.append(tape.gradient(loss, images))
    np.testing.assert_allclose(*gradients, atol=1e-6)
    assert counted.counts() == (48, 24)
    counted.reset()
    assert counted.counts() == (0, 0)


def test_every_draw_counts(toy_model, toy_images):
    counted = CountedModel(Expectation(toy_model, draws=3), (12, 12, 1))
    counted(toy_images[:5])
    assert counted.counts() == (15, 0)


@pytest.mark.slow
def test_it_is_compiled_once_for_a_model_and_does_not_keep_it_alive(toy_images):
    def make():
        weights = tf.Variable(tf.ones([144, 3]))
        return lambda images: tf.reshape(images, [-1, 144]) @ weights

    model = make()
    first = counted_model(model, (12, 12, 1))
    first(toy_images)
    assert counted_model(model, (12, 12, 1)) is first
    assert first.counts() == (0, 0)
    gone = weakref.ref(model)
    del model
    gc.collect()
    assert gone() is None
