import numpy as np
import pytest
import tensorflow as tf

from tests.evaluation.checks.planted_flaws import draw_noise, identity, smooth_in_a_loop
from tfdefense.attacks import PGD, Square
from tfdefense.evaluation.checks.check import CheckEvidence
from tfdefense.evaluation.checks.inference_graph import inspect_graph
from tfdefense.evaluation.checks.test_time_procedures import TEST_TIME_PROCEDURES
from tfdefense.evaluation.measurements import Measurements
from tfdefense.evaluation.per_image_results import PerImageResults, ResultKey


@pytest.fixture
def run_check(measure, diagnose):
    """Return the check's result for a planted purifier under attacks."""

    def run_check(function, *attacks):
        evidence = CheckEvidence(measure(function, attacks), diagnose(function), ("planted",))
        return TEST_TIME_PROCEDURES.run(evidence)

    return run_check


@pytest.mark.slow
def test_ordinary_network_passes(run_check):
    result = run_check(identity, PGD(epsilon=0.1, steps=2))
    assert result.passed
    assert "neither draws random numbers nor runs a loop" in result.verdict


@pytest.mark.slow
def test_loop_with_a_declared_gradient_needs_an_attack_without_gradients(run_check):
    gradient, square = PGD(epsilon=0.1, steps=2), Square(epsilon=0.1, queries=5)
    failed = run_check(smooth_in_a_loop, gradient)
    assert not failed.passed
    assert "runs a loop at inference, whose gradient is declared" in failed.verdict
    assert "black_box" in failed.verdict
    assert run_check(smooth_in_a_loop, gradient, square).passed


@pytest.mark.parametrize(
    ("attack", "passes"),
    [
        (("square", "black_box"), True),
        (("square", "grey_box"), False),  # It attacked the classifier.
        (("auto_attack", "white_box"), True),  # It ends with Square.
        (("auto_attack:version=rand:seed=1", "white_box"), False),
    ],
)
def test_an_attack_without_gradients_must_attack_the_pipeline(
    plant, diagnose, toy_split, attack, passes
):
    measurements = Measurements(plant(smooth_in_a_loop), toy_split)
    norms, gradients = np.zeros((24, 3), np.float32), np.full(24, 9, np.int32)
    for key in (("none", "none"), attack):
        results = PerImageResults(toy_split.labels, norms, gradients=gradients)
        measurements.add(ResultKey("planted", *key), 0.1, results)
    evidence = CheckEvidence(measurements, diagnose(smooth_in_a_loop), ("planted",))
    assert TEST_TIME_PROCEDURES.run(evidence).passed == passes


@pytest.mark.slow
def test_random_numbers_need_attacks_in_expectation(measure, diagnose):
    measurements = measure(draw_noise, [PGD(epsilon=0.1, steps=2)])
    evidence = CheckEvidence(measurements, diagnose(draw_noise), ("planted",))
    result = TEST_TIME_PROCEDURES.run(evidence)
    assert not result.passed
    assert "averages gradients over draws" in result.verdict
    key = ResultKey("planted", "pgd:steps=2", "white_box")
    results = measurements.per_image[str(key)]
    measurements.add(key._replace(threat_model="white_box_eot"), 0.1, results)
    assert TEST_TIME_PROCEDURES.run(evidence).passed


def test_random_operations_are_found_by_name(run_planted, toy_split):
    shape = toy_split.image_shape
    assert "RandomStandardNormal" in inspect_graph(run_planted(draw_noise).model, shape).random
    assert inspect_graph(run_planted(identity).model, shape) == ((), 0)
    for draw in (
        lambda images: tf.random.truncated_normal(tf.shape(images)),
        lambda images: tf.random.stateless_truncated_normal(tf.shape(images), [1, 2]),
        lambda images: tf.random.stateless_categorical(images[:, 0, :, 0], 3, [1, 2]),
    ):
        assert inspect_graph(draw, shape).random, draw
