import keras
import numpy as np
import pytest
import tensorflow as tf

from tfdefense.classifiers.custom.logits import (
    LogarithmOfOdds,
    LogarithmOfProbabilities,
    TwoClassLogits,
    looks_like_probabilities,
    remove_activation,
)
from tfdefense.training.frozen_networks import infer_fast


def test_the_logarithm_of_probabilities_inverts_a_softmax():
    logits = np.array([[0.0, 5.0, -80.0], [3.0, 3.0, 3.0]], np.float32)
    back = tf.nn.softmax(LogarithmOfProbabilities()(tf.nn.softmax(logits))).numpy()
    np.testing.assert_allclose(back, tf.nn.softmax(logits), rtol=1e-6)
    assert np.all(np.isfinite(LogarithmOfProbabilities()(tf.constant([[1.0, 0.0]]))))


def test_the_logarithm_of_odds_inverts_sigmoids():
    logits = np.array([[0.0, 5.0, -80.0], [3.0, -3.0, 15.0]], np.float32)
    back = LogarithmOfOdds()(tf.sigmoid(logits)).numpy()
    np.testing.assert_allclose(back, logits, atol=0.1)
    np.testing.assert_allclose(back[0, :2], logits[0, :2], atol=1e-4)
    assert np.all(np.isfinite(LogarithmOfOdds()(tf.constant([[1.0, 0.0]]))))


def test_confident_sigmoids_have_a_gradient_in_a_training_in_bfloat16():
    """The sigmoid is inside the model, so it is rounded too."""
    layers = keras.layers
    images = keras.Input((1, 1, 1))
    dense = layers.Dense(1, "sigmoid", kernel_initializer=keras.initializers.Constant(8.0))
    flat = layers.Flatten()
    twice = layers.Average()([dense(flat(images)), dense(flat(1.0 - images * 0.0))])
    logits = TwoClassLogits()(LogarithmOfOdds()(twice))
    model = keras.Model(images, logits)
    given = tf.ones((1, 1, 1, 1))
    with infer_fast([model], "bfloat16"), tf.GradientTape() as tape:
        tape.watch(given)
        outputs = model(given)
    np.testing.assert_allclose(outputs, [[0.0, 8.0]], atol=0.01)
    np.testing.assert_allclose(tape.gradient(outputs, given).numpy().ravel(), [4.0], rtol=0.01)


def test_one_logit_is_the_second_of_two_classes():
    logit = np.array([[2.0], [-1.0]], np.float32)
    probabilities = tf.nn.softmax(TwoClassLogits()(logit)).numpy()
    np.testing.assert_allclose(probabilities[:, 1:], tf.sigmoid(logit), rtol=1e-6)


@pytest.mark.parametrize("end", ["softmax", "sigmoid"])
def test_an_activation_at_the_end_is_removed(end):
    layers = keras.layers
    images = keras.Input((4, 4, 1))
    hidden = layers.Dense(3, name="d")(layers.Flatten()(images))
    expected = keras.Model(images, hidden)
    inputs = np.random.default_rng(0).random((2, 4, 4, 1))
    outputs = [layers.Activation(end)(hidden), getattr(keras.ops, end)(hidden)]
    for output in outputs:
        network = remove_activation(keras.Model(images, output))
        assert network.has_logits
        np.testing.assert_allclose(network.layer(inputs), expected(inputs), rtol=1e-5, atol=1e-6)


AFTER = {
    "float32": lambda: [keras.layers.Activation("linear", dtype="float32")],
    "identity": lambda: [keras.layers.Identity(), keras.layers.Dropout(0.5)],
    "flat": lambda: [keras.layers.Flatten(), keras.layers.Reshape((3,))],
}


@pytest.mark.parametrize("after", AFTER)
@pytest.mark.parametrize("kind", ["dense", "layer", "operation"])
@pytest.mark.parametrize("end", ["softmax", "sigmoid"])
def test_layers_that_change_no_value_may_follow_the_activation(end, kind, after):
    layers = keras.layers
    images = keras.Input((1, 1, 4))
    dense = layers.Dense(3, activation=end if kind == "dense" else None)
    outputs = dense(images)
    if kind != "dense":
        activation = layers.Activation(end) if kind == "layer" else getattr(keras.ops, end)
        outputs = activation(outputs)
    for layer in AFTER[after]():
        outputs = layer(outputs)
    network = remove_activation(keras.Model(images, outputs))
    assert network.has_logits
    inputs = np.random.default_rng(0).random((2, 1, 1, 4))
    found = np.reshape(network.layer(inputs), (2, 3))
    np.testing.assert_allclose(
        found, inputs[:, 0, 0] @ dense.kernel + dense.bias, rtol=1e-5, atol=1e-6
    )


def test_a_softmax_over_one_of_several_axes_is_kept():
    images = keras.Input((2, 3))
    outputs = keras.layers.Flatten()(keras.layers.Softmax()(images))
    assert not remove_activation(keras.Model(images, outputs)).has_logits


@pytest.mark.parametrize("end", ["softmax", "sigmoid"])
def test_an_activation_that_is_used_elsewhere_too_stays_there(end):
    """One `Activation` for all layers, one layer called twice, one nested model called twice."""
    layers = keras.layers
    images = keras.Input((3,))
    activation = layers.Activation(end)
    first, last = layers.Dense(3), layers.Dense(3)
    shared = layers.Dense(3, activation=end)
    nested = keras.Sequential([keras.Input((3,)), layers.Dense(3, activation=end)])
    inputs = np.random.default_rng(0).random((2, 3)).astype(np.float32)
    for outputs, is_cut in (
        (activation(last(activation(first(images)))), True),
        (shared(shared(images)), False),
        (nested(nested(images)), False),
    ):
        model = keras.Model(images, outputs)
        expected = model(inputs)
        network = remove_activation(model)
        assert network.has_logits == is_cut
        found = getattr(tf.nn, end)(network.layer(inputs)) if is_cut else network.layer(inputs)
        np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)


def nested_ends(end):
    """Return models of one Dense layer, whose activation is in a nested model, and the Dense layer."""
    layers = keras.layers
    dense = layers.Dense(1, name="d")
    images, inner_images = keras.Input((3,)), keras.Input((3,))
    if end == "dense":
        inner_outputs = layers.Dense(1, activation="sigmoid", name="d")(inner_images)
    elif end == "layer":
        inner_outputs = layers.Activation("sigmoid")(dense(inner_images))
    else:
        inner_outputs = keras.ops.sigmoid(dense(inner_images))
    inner = keras.Model(inner_images, inner_outputs)
    yield keras.Model(images, inner(layers.Rescaling(1 / 255)(images))), inner
    yield keras.Sequential([keras.Input((3,)), layers.Rescaling(1 / 255), inner]), inner
    deeper = keras.Sequential([keras.Input((3,)), inner])
    yield keras.Model(images, deeper(layers.Rescaling(1 / 255)(images))), inner


@pytest.mark.parametrize("end", ["dense", "layer", "operation"])
@pytest.mark.parametrize("form", range(3))
def test_an_activation_at_the_end_of_a_nested_model_is_removed(end, form):
    model, inner = [*nested_ends(end)][form]
    weights = [np.array([[1.0], [2.0], [3.0]]), np.array([40.0])]
    inner.get_layer("d").set_weights(weights)
    images = tf.constant(255 * np.random.default_rng(0).random((2, 3)), tf.float32)
    network = remove_activation(model)
    with tf.GradientTape() as tape:
        tape.watch(images)
        logits = network.layer(images)
    assert network.has_logits
    np.testing.assert_allclose(logits, images @ weights[0] / 255 + weights[1], rtol=1e-5, atol=1e-6)
    gradient = tape.gradient(logits, images)
    np.testing.assert_allclose(gradient, np.tile(weights[0].T / 255, (2, 1)), rtol=1e-5, atol=1e-6)


def test_a_softmax_of_one_unit_is_not_removed():
    images = keras.Input((4,))
    output = keras.layers.Dense(1, activation="softmax")(images)
    assert not remove_activation(keras.Model(images, output)).has_logits


def test_probabilities_of_16_bits_need_not_sum_to_1_exactly():
    rows = np.array([[0.5, 0.503], [0.2, 0.8]], np.float32)
    assert looks_like_probabilities(rows, "float16")
    assert not looks_like_probabilities(rows)


@pytest.mark.parametrize("kind", [keras.layers.LSTM, keras.layers.GRU, keras.layers.SimpleRNN])
def test_the_activation_inside_a_recurrent_layer_stays(kind):
    images = keras.Input((4, 4, 1))
    steps = keras.layers.Reshape((4, 4))(images)
    model = keras.Model(images, kind(3, activation="softmax")(steps))
    inputs = np.random.default_rng(0).random((2, 4, 4, 1))
    expected = model(inputs)
    network = remove_activation(model)
    assert not network.has_logits
    np.testing.assert_array_equal(network.layer(inputs), expected)
