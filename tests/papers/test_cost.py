"""Estimates of time: the multiplications that they rest on, and that they learn."""

import pytest
import tensorflow as tf
from tensorflow.python.framework.convert_to_constants import convert_variables_to_constants_v2

from tfdefense.classifiers import CLASSIFIERS
from tfdefense.papers.cost import CostEstimator, duration_text
from tfdefense.papers.store import TargetStore
from tfdefense.papers.targets import ClassifierTarget, ExamplesTarget, DefenseTarget


def profiled(name, image_shape):
    """Floating point operations of one image, as TensorFlow's profiler counts those of convolutions and products."""
    model = CLASSIFIERS.get(name).build(image_shape, 10)
    function = tf.function(lambda images: model(images, training=False))
    spec = tf.TensorSpec([1, *image_shape], tf.float32)
    frozen = convert_variables_to_constants_v2(function.get_concrete_function(spec))
    with tf.Graph().as_default() as graph:
        tf.graph_util.import_graph_def(frozen.graph.as_graph_def(), name="")
        options = tf.compat.v1.profiler.ProfileOptionBuilder.float_operation()
        options["output"] = "none"
        counted = tf.compat.v1.profiler.profile(graph, options=options)
    return counted.total_float_ops


@pytest.mark.parametrize("name", ["lenet", "mnist_cnn", "resnet18"])
def test_multiplications_are_those_of_the_profiler(name, tmp_path):
    cost = CostEstimator(TargetStore(tmp_path))
    digits = ExamplesTarget(ClassifierTarget("digits", name), "fgsm", 1)
    forward = cost.multiplications(digits) / 3
    assert forward == pytest.approx(profiled(name, (28, 28, 1)) / 2, rel=0.05)


def test_estimates_follow_what_was_measured(tmp_path):
    cost = CostEstimator(TargetStore(tmp_path))
    classifier = ClassifierTarget("digits", "lenet", 5)
    first = DefenseTarget.of(classifier, "apegan", {}, 10)
    before = cost.seconds(first)
    cost.made(first, 10 * before)
    assert cost.seconds(first) == pytest.approx(10 * before, rel=1e-6)
    twice = DefenseTarget.of(classifier, "apegan", {}, 20)
    assert cost.seconds(twice) == pytest.approx(2 * cost.seconds(first), rel=0.2)
    assert cost.seconds(DefenseTarget.of(classifier, "bit_depth", {}, 20)) < 10


def test_spoken():
    assert [duration_text(s) for s in (40, 89, 600, 5400, 12_000)] == [
        "40 s",
        "89 s",
        "10 min",
        "1 h 30 min",
        "3 h 20 min",
    ]
