"""Adam in one operation is the Adam of Keras."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from tfdefense.training.averaging_optimizers import AveragingAdam

OPTIONS = {"learning_rate": 0.02, "beta_1": 0.5, "beta_2": 0.99, "epsilon": 1e-5}


def train(optimizer, dtype=tf.float32):
    """Return the weights and the moments after some steps, and the graph of a step as text."""
    variables = [
        keras.Variable(tf.random.stateless_normal(shape, seed=(0, 1)), name="kernel")
        for shape in ([3, 4], [5])
    ]
    optimizer.build(variables)

    @tf.function(autograph=False)
    def step(number):
        gradients = [
            tf.cast(tf.random.stateless_normal(each.shape, seed=(1, number)) * each, dtype)
            for each in variables
        ]
        optimizer.apply(gradients, variables)

    for number in range(5):
        step(tf.constant(number))
    graph = str(step.get_concrete_function(tf.constant(0)).graph.as_graph_def())
    return [np.asarray(each) for each in (*variables, *optimizer.variables)], graph


@pytest.mark.parametrize(
    "options",
    [{}, {"weight_decay": 0.1}, {"clipnorm": 0.5}, {"gradient_accumulation_steps": 2}],
)
def test_weights_and_moments_are_those_of_keras(options):
    expected, _ = train(keras.optimizers.Adam(**OPTIONS, **options))
    measured, graph = train(AveragingAdam(**OPTIONS, **options))
    assert "ResourceApplyAdam" in graph
    for one, other in zip(measured, expected, strict=True):
        np.testing.assert_allclose(one, other, rtol=2e-5, atol=1e-7)


def test_the_schedule_of_the_learning_rate_is_that_of_keras():
    schedule = keras.optimizers.schedules.CosineDecay(0.1, 5)
    expected, _ = train(keras.optimizers.Adam(schedule))
    measured, _ = train(AveragingAdam(learning_rate=schedule))
    np.testing.assert_allclose(measured[0], expected[0], rtol=2e-5)


def test_bfloat16_gradients_update_float32_weights_and_moments():
    expected, _ = train(AveragingAdam(**OPTIONS))
    measured, graph = train(AveragingAdam(**OPTIONS), tf.bfloat16)
    assert "ResourceApplyAdam" in graph
    for one, other in zip(measured, expected, strict=True):
        np.testing.assert_allclose(one, other, rtol=0.05, atol=0.01)


@pytest.mark.parametrize("kind", ["float64", "sparse", "amsgrad"])
def test_what_the_operation_cannot_do_is_left_to_keras(kind):
    results = []
    for optimizer_type in (keras.optimizers.Adam, AveragingAdam):
        dtype = "float64" if kind == "float64" else "float32"
        variable = keras.Variable(tf.ones([3, 2], dtype), dtype=dtype)
        optimizer = optimizer_type(**OPTIONS, amsgrad=kind == "amsgrad")
        optimizer.build([variable])
        for value in (0.5, -2.0, 0.1):
            gradient = tf.fill([3, 2], tf.cast(value, dtype))
            if kind == "sparse":
                gradient = tf.IndexedSlices(gradient[:1], tf.constant([1]), tf.constant([3, 2]))
            optimizer.apply([gradient], [variable])
        results.append(variable.numpy())
    np.testing.assert_array_equal(*results)
