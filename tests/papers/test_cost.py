"""Time estimates: the operations that they count, and their correction by measured times."""

import pytest
import tensorflow as tf
from tensorflow.python.framework.convert_to_constants import convert_variables_to_constants_v2

from tfdefense.classifiers import CLASSIFIERS
from tfdefense.papers.cost import CostEstimator
from tfdefense.papers.paper import PaperDefense
from tfdefense.papers.store import TargetStore
from tfdefense.papers.targets import ClassifierTarget, DefenseTarget, ExamplesTarget
from tfdefense.utils.duration import duration_text


def profiled_operations(name, image_shape):
    """Return the operations of a forward pass of one image, as TensorFlow's profiler counts them."""
    model = CLASSIFIERS.get(name).build(image_shape, 10)
    function = tf.function(lambda images: model(images, training=False))
    spec = tf.TensorSpec([1, *image_shape], tf.float32)
    frozen = convert_variables_to_constants_v2(function.get_concrete_function(spec))
    with tf.Graph().as_default() as graph:
        tf.graph_util.import_graph_def(frozen.graph.as_graph_def(), name="")
        options = tf.compat.v1.profiler.ProfileOptionBuilder.float_operation()
        options["output"] = "none"
        profile = tf.compat.v1.profiler.profile(graph, options=options)
    return profile.total_float_ops


@pytest.mark.slow
@pytest.mark.parametrize("name", ["lenet", "mnist_cnn", "resnet18"])
def test_macs_are_half_the_operations_of_the_profiler(name, tmp_path):
    cost = CostEstimator(TargetStore(tmp_path))
    gradient = cost.macs(ExamplesTarget(ClassifierTarget("digits", name), "fgsm", 1))
    operations = profiled_operations(name, (28, 28, 1))
    assert gradient / 3 == pytest.approx(operations / 2, rel=0.05)


def test_estimates_follow_measured_times(tmp_path):
    cost = CostEstimator(TargetStore(tmp_path))
    classifier = ClassifierTarget("digits", "lenet", 5)

    def target(name, passes):
        return DefenseTarget.from_choice(classifier, PaperDefense(name, ""), passes)

    first = target("apegan", 10)
    before = cost.seconds(first)
    cost.record(first, 10 * before)
    assert cost.seconds(first) == pytest.approx(10 * before, rel=1e-6)
    twice = target("apegan", 20)
    assert cost.seconds(twice) == pytest.approx(2 * cost.seconds(first), rel=0.2)
    assert cost.seconds(target("bit_depth", 20)) < 10


def test_durations_are_written_in_seconds_minutes_or_hours():
    assert [duration_text(seconds) for seconds in (40, 89, 600, 5400, 12_000)] == [
        "40 s",
        "89 s",
        "10 min",
        "1 h 30 min",
        "3 h 20 min",
    ]
