"""Loops of SavedModels: those that count their steps run as before, and no other runs for ever."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from tests.hostile.saved_models import SHAPE, Classifier, graph_of
from tfdefense.classifiers.custom.graph_loops import MAX_STEPS, bound_loops, require_counted_loops
from tfdefense.classifiers.custom.graph_rules import require_allowed_graph
from tfdefense.classifiers.custom.saved_model_layer import FrozenGraph, freeze_saved_model
from tfdefense.errors import UserError


def _with_gradient(function, images):
    with tf.GradientTape() as tape:
        tape.watch(images)
        logits = function(images)
    return logits.numpy(), tape.gradient(logits, images).numpy()


def _images():
    return tf.constant(np.random.default_rng(0).random((3, *SHAPE), np.float32))


def _recurrent_model():
    images = keras.Input(SHAPE)
    rows = keras.layers.Reshape((28, 28))(images)
    return keras.Model(images, keras.layers.Dense(10)(keras.layers.LSTM(4)(rows)))


@pytest.mark.slow
def test_a_recurrent_layer_in_a_saved_model_is_the_original(tmp_path):
    model = _recurrent_model()
    model.export(tmp_path / "model", verbose=False)
    network, _ = freeze_saved_model(tmp_path / "model")
    for found, expected in zip(
        _with_gradient(network.layer, _images()), _with_gradient(model, _images()), strict=True
    ):
        np.testing.assert_allclose(found, expected, atol=1e-5)


class PerImage(Classifier):
    """A classifier that standardizes each image in a loop."""

    @tf.function(input_signature=[tf.TensorSpec([None, *SHAPE], tf.float32)])
    def serve(self, images):
        images = tf.map_fn(tf.image.per_image_standardization, images)
        return tf.reshape(images, [-1, 784]) @ self.weights


@pytest.mark.slow
def test_a_loop_over_images_is_the_original(tmp_path):
    model = PerImage()
    tf.saved_model.save(model, str(tmp_path / "model"), signatures=model.serve)
    network, _ = freeze_saved_model(tmp_path / "model")
    for found, expected in zip(
        _with_gradient(network.layer, _images()),
        _with_gradient(model.serve, _images()),
        strict=True,
    ):
        np.testing.assert_allclose(found, expected, atol=1e-5)


def _dependent_loop(images):
    """Return logits after a loop that ends only for dark images."""
    total = tf.reduce_sum(images)
    (end,) = tf.while_loop(lambda total: total > 1.0, lambda total: (total * 1.0,), [total])
    return tf.reshape(images, [-1, 784])[:, :10] + 0 * end


def test_a_loop_that_ends_for_some_images_only_is_stopped():
    graph, feed, fetch = _graph(_dependent_loop)
    layer = FrozenGraph(feed, fetch, 10, graph)
    assert layer(tf.zeros([2, *SHAPE])).shape == (2, 10)
    with pytest.raises(tf.errors.InvalidArgumentError, match="tfdefense_bound"):
        layer(tf.ones([2, *SHAPE]))


def test_a_loop_that_never_ends_is_stopped():
    def loop():
        return tf.while_loop(lambda i: i < 1, lambda i: i * 1, [tf.constant(0)])[0]

    graph, feed, fetch = graph_of(loop)
    with pytest.raises(tf.errors.InvalidArgumentError, match="tfdefense_bound"):
        FrozenGraph(feed, fetch, 10, graph)(tf.zeros([1, *SHAPE]))


def _steps(limit):
    return tf.while_loop(lambda step: step < limit, lambda step: (step + 1,), [tf.constant(0)])[0]


def test_a_loop_of_the_largest_number_of_steps_runs():
    graph, feed, fetch = _graph(
        lambda images: (
            tf.reshape(images, [-1, 784])[:, :10] + tf.cast(_steps(MAX_STEPS - 1), tf.float32)
        )
    )
    logits = FrozenGraph(feed, fetch, 10, graph)(tf.zeros([1, *SHAPE]))
    np.testing.assert_array_equal(logits, np.full((1, 10), MAX_STEPS - 1, np.float32))


def _graph(function):
    graph = tf.Graph()
    with graph.as_default():
        images = tf.compat.v1.placeholder(tf.float32, [None, *SHAPE])
        logits = function(images)
    return graph.as_graph_def().SerializeToString(), images.name, logits.name


def _loop_graph():
    """Return a GraphDef with one loop, the loop, and the function of its body."""
    graph, _, _ = graph_of(lambda: _steps(5))
    definition = tf.compat.v1.GraphDef.FromString(graph)
    (loop,) = [node for node in definition.node if node.op == "StatelessWhile"]
    (body,) = [
        function
        for function in definition.library.function
        if function.signature.name == loop.attr["body"].func.name
    ]
    return definition, loop, body


def _constant(node, value):
    node.attr["value"].tensor.CopyFrom(tf.make_tensor_proto(value))


def _set_start(definition, loop, _, value):
    name = loop.input[0]
    (start,) = [node for node in definition.node if node.name == name]
    _constant(start, value)


def _set_step(_, __, body, value):
    for node in body.node_def:
        if node.op == "Const":
            _constant(node, value)


def _subtract(_, __, body, ___):
    for node in body.node_def:
        node.op = "Sub" if node.op == "AddV2" else node.op


def _return_the_counter(_, __, body, ___):
    body.ret[body.signature.output_arg[0].name] = body.signature.input_arg[0].name


def _add_the_counter_twice(_, __, body, ___):
    for node in body.node_def:
        if node.op == "AddV2":
            node.input[1] = node.input[0]


@pytest.mark.parametrize(
    ("edit", "value"),
    [
        (_set_start, np.int32(-(2**31))),
        (_set_step, np.int32(0)),
        (_set_step, np.int32(-1)),
        (_subtract, None),
        (_return_the_counter, None),
        (_add_the_counter_twice, None),
    ],
)
def test_a_loop_that_does_not_count_is_refused(edit, value):
    definition, loop, body = _loop_graph()
    require_counted_loops(definition, "--classifier=x")
    edit(definition, loop, body, value)
    with pytest.raises(UserError, match=r"--classifier=x: its loop .* does not count its steps"):
        require_allowed_graph(definition, "--classifier=x")


def test_a_condition_that_is_always_true_is_bounded():
    definition, loop, _ = _loop_graph()
    bounded = bound_loops(definition)
    names = {function.signature.name for function in bounded.library.function}
    assert f"{loop.attr['cond'].func.name}_bounded" in names
    assert loop.attr["cond"].func.name in names, "the graph itself did not change"


def test_loops_in_loops_in_loops_are_refused():
    def nested(depth):
        def body(step):
            inner = nested(depth - 1) if depth else 0
            return (step + 1 + 0 * inner,)

        return tf.while_loop(lambda step: step < 3, body, [tf.constant(0)])[0]

    for depth, is_refused in ((1, False), (3, True)):
        graph, _, _ = graph_of(lambda depth=depth: nested(depth))
        definition = tf.compat.v1.GraphDef.FromString(graph)
        if is_refused:
            with pytest.raises(UserError, match=r"its loops can run .* operations; at most 1e\+10"):
                require_allowed_graph(definition, "--classifier=x")
        else:
            require_allowed_graph(definition, "--classifier=x")
