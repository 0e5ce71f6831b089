import numpy as np
import pytest

from tests.evaluation.checks.planted_flaws import identity, round_without_gradient
from tfdefense.attacks import PGD, Square
from tfdefense.evaluation.checks.check import CheckEvidence
from tfdefense.evaluation.checks.square_finds_nothing import SQUARE_FINDS_NOTHING
from tfdefense.evaluation.measurements import Measurements
from tfdefense.evaluation.per_image_results import PerImageResults, ResultKey


@pytest.fixture
def run_check(plant, toy_split, clean_diagnostics):
    """Return the check's result for numbers of images that PGD and Square fool."""

    def run_check(by_pgd, by_square, threat_model="white_box"):
        measurements = Measurements(plant(identity), toy_split)
        for attack, knowledge, fooled in (
            ("none", "none", 0),
            ("pgd", "white_box", by_pgd),
            ("square:queries=5000", threat_model, by_square),
        ):
            wrong = np.arange(24) < fooled
            predicted = np.where(wrong, (toy_split.labels + 1) % 3, toy_split.labels)
            results = PerImageResults(predicted, np.zeros((24, 3), np.float32))
            measurements.add(ResultKey("planted", attack, knowledge), 0.1, results)
        evidence = CheckEvidence(measurements, clean_diagnostics, ("planted",))
        return SQUARE_FINDS_NOTHING.run(evidence)

    return run_check


@pytest.mark.parametrize("threat_model", ["white_box", "black_box"])
def test_a_single_image_fails_because_it_is_more_than_the_tolerance(run_check, threat_model):
    result = run_check(12, 13, threat_model)
    assert not result.passed
    assert "4.2 points, 95 % interval [0.7, 20.2] (1 of 24, square" in result.verdict


def test_no_image_passes_and_says_that_few_images_cannot_exclude_a_drop(run_check):
    result = run_check(12, 12)
    assert result.passed
    assert "0.0 points, 95 % interval [0.0, 13.8] (0 of 24, square)" in result.verdict
    assert "too few images to exclude a drop of 0.2 points" in result.verdict


@pytest.mark.slow
@pytest.mark.parametrize(
    ("function", "passes"), [(identity, True), (round_without_gradient, False)]
)
def test_masked_gradients_fail(measure, clean_diagnostics, function, passes):
    attacks = [PGD(epsilon=0.25), Square(epsilon=0.25, queries=300)]
    evidence = CheckEvidence(measure(function, attacks), clean_diagnostics, ("planted",))
    assert SQUARE_FINDS_NOTHING.run(evidence).passed == passes


def test_square_runs_on_its_own_if_the_report_has_none(
    measure, clean_diagnostics, masked_diagnostics
):
    for function, diagnostics, passes in (
        (identity, clean_diagnostics, True),
        (round_without_gradient, masked_diagnostics, False),
    ):
        measurements = measure(function, [PGD(epsilon=0.25)])
        evidence = CheckEvidence(measurements, diagnostics, ("planted",))
        result = SQUARE_FINDS_NOTHING.run(evidence)
        assert result.passed == passes
        assert "of 24, square, 200 queries)" in result.verdict
