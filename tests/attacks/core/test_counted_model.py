"""Model that counts its passes."""

import gc
import weakref

import numpy as np
import pytest
import tensorflow as tf
from tensorflow.python.framework.func_graph import FuncGraph

from tfdefense.attacks import Expectation
from tfdefense.attacks.core.counted_model import CountedModel, counted_model
from tfdefense.errors import UserError
from tfdefense.networks.surrogates import DeclaredSurrogates, choose_surrogate, use_surrogates


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


@pytest.mark.slow
def test_its_graphs_end_with_it(toy_images):
    """TensorFlow would keep the gradient of each, and with it the weights of the model."""

    def count_graphs():
        gc.collect()
        return sum(isinstance(each, FuncGraph) for each in gc.get_objects())

    def use():
        weights = tf.Variable(tf.ones([144, 3]))
        counted = CountedModel(lambda images: tf.reshape(images, [-1, 144]) @ weights, (12, 12, 1))
        images = tf.constant(toy_images)
        with tf.GradientTape() as tape:
            tape.watch(images)
            logits = counted(images)
        tape.gradient(logits, images)
        assert counted.counts() == (24, 24)

    use()
    before = count_graphs()
    use()
    assert count_graphs() == before


def test_it_has_the_default_gradient_whatever_is_requested(toy_images):
    declared = DeclaredSurrogates(("flat", "steep"), "flat")

    def make():
        @tf.custom_gradient
        def step(images):
            factor = {"flat": 1.0, "steep": 5.0}[choose_surrogate(declared)]
            return tf.identity(images), lambda upstream: factor * upstream

        return lambda images: tf.reshape(step(images), [-1, 144])[:, :3]

    images = tf.constant(toy_images)
    with use_surrogates("steep"):
        counted = CountedModel(make(), (12, 12, 1))
    with tf.GradientTape() as tape:
        tape.watch(images)
        logits = counted(images)
    assert tf.reduce_max(tape.gradient(logits, images)) == 1


def test_an_unknown_number_of_classes_is_refused():
    def model(images):
        return tf.numpy_function(lambda array: array[:, 0, 0], [images], tf.float32)

    with pytest.raises(UserError, match=r"number of classes is unknown.*tf\.ensure_shape"):
        CountedModel(model, (12, 12, 1))
