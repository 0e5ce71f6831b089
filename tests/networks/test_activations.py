import numpy as np
import tensorflow as tf

from tfdefense.networks.activations import leaky_relu


def test_value_and_both_derivatives_of_leaky_relu_are_those_of_tensorflow():
    features = tf.random.stateless_normal([64], seed=[3, 4])
    results = []
    for function in (leaky_relu, lambda x: tf.nn.leaky_relu(x, 0.01)):
        with tf.GradientTape() as outer:
            outer.watch(features)
            with tf.GradientTape() as inner:
                inner.watch(features)
                value = function(tf.square(features) - 0.5)
            first = inner.gradient(value, features)
        results.append((value, first, outer.gradient(first, features)))
    for ours, theirs in zip(*results, strict=True):
        np.testing.assert_allclose(ours, theirs, atol=1e-6)
