import numpy as np
import pytest
import tensorflow as tf

from tfdefense.networks.activations import leaky_relu, silu


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


def silu_in_float64(features):
    gate = 1 / (1 + np.exp(-features))
    return features * gate, gate * (1 + features * (1 - gate))


@pytest.mark.parametrize(("dtype", "roundings"), [("float32", 4), ("bfloat16", 1)])
def test_silu_and_its_gradient_are_right_up_to_rounding(dtype, roundings):
    features = tf.cast([*np.linspace(-9, 9, 200), 0.0, -100.0, 100.0], dtype)
    upstream = tf.cast(np.linspace(-2, 3, len(features)), dtype)
    with tf.GradientTape() as tape:
        tape.watch(features)
        value = silu(features)
    gradient = tape.gradient(value, features, upstream)
    assert value.dtype == gradient.dtype == features.dtype
    expected, slope = silu_in_float64(np.array(features, np.float64))
    slope *= np.array(upstream, np.float64)
    tolerance = {"rtol": roundings * np.finfo(np.float32).eps, "atol": 1e-6}
    if dtype == "bfloat16":
        tolerance = {"rtol": roundings * 2.0**-8, "atol": 1e-6}
    np.testing.assert_allclose(np.array(gradient, np.float64), slope, **tolerance)
    # The value is the product of two rounded factors.
    np.testing.assert_allclose(np.array(value, np.float64), expected, rtol=2.0**-6, atol=1e-4)


@pytest.mark.parametrize(
    ("shape", "devices", "sigmoids"),
    [([4, 5], ["CPU:0"], 1), ([None, 5], ["CPU:0"], 2), ([4, 5], ["CPU:0", "GPU:0"], 2)],
)
def test_the_gradient_of_silu_is_compiled_for_one_size_on_the_cpu(
    monkeypatch, shape, devices, sigmoids
):
    monkeypatch.setattr(
        tf.config, "list_logical_devices", lambda kind: [name for name in devices if kind in name]
    )
    monkeypatch.setattr(tf.test, "is_built_with_xla", lambda: True)

    @tf.function
    def gradient(features):
        return tf.gradients(silu(features), features)

    graph = gradient.get_concrete_function(tf.TensorSpec(shape, tf.bfloat16)).graph
    # The value has one sigmoid. TensorFlow's gradient has another.
    assert [operation.type for operation in graph.get_operations()].count("Sigmoid") == sigmoids


def test_silu_has_its_gradient_on_two_replicas():
    strategy = tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])
    features = tf.constant([[-1.0, 2.0]], tf.bfloat16)

    @tf.function
    def gradient():
        return strategy.run(lambda: tf.gradients(silu(features), features)[0])

    _, slope = silu_in_float64(np.array(features, np.float64))
    for replica in strategy.experimental_local_results(gradient()):
        np.testing.assert_allclose(np.array(replica, np.float64), slope, rtol=2.0**-8)
