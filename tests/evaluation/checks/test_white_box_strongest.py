import numpy as np
import pytest

from tests.evaluation.checks.planted_flaws import identity, round_without_gradient
from tfdefense.attacks import PGD, Square
from tfdefense.evaluation.checks.check import CheckEvidence
from tfdefense.evaluation.checks.white_box_strongest import WHITE_BOX_STRONGEST
from tfdefense.evaluation.measurements import Measurements
from tfdefense.evaluation.per_image_results import PerImageResults, ResultKey

ATTACKS = [PGD(epsilon=0.25), Square(epsilon=0.25, queries=300)]


@pytest.fixture
def run_check(measure, clean_diagnostics):
    """Return the check's result for a planted purifier under attacks."""

    def run_check(function, attacks, diagnostics=clean_diagnostics):
        evidence = CheckEvidence(measure(function, attacks), diagnostics, ("planted",))
        return WHITE_BOX_STRONGEST.run(evidence)

    return run_check


@pytest.mark.slow
def test_gradient_attacks_that_find_what_square_finds_pass(run_check):
    result = run_check(identity, ATTACKS)
    assert result.passed
    assert "(square)" in result.verdict


@pytest.mark.slow
def test_masked_gradients_fail_because_square_is_not_compared_with_itself(run_check):
    result = run_check(round_without_gradient, ATTACKS)
    assert not result.passed
    assert "masks gradients" in result.verdict


@pytest.mark.slow
def test_square_with_a_larger_radius_is_no_witness(run_check):
    attacks = [PGD(epsilon=0.02), Square(epsilon=0.25, queries=50)]
    assert "(square)" not in run_check(identity, attacks).verdict


@pytest.mark.slow
def test_attacks_in_another_norm_are_not_compared_with_square(run_check):
    result = run_check(identity, [PGD(epsilon=3.0, norm="l2"), *ATTACKS])
    assert result.passed
    assert "(square)" in result.verdict


@pytest.mark.slow
def test_square_runs_on_its_own_if_it_is_not_among_the_attacks(
    run_check, clean_diagnostics, masked_diagnostics
):
    passed = run_check(identity, ATTACKS[:1], clean_diagnostics)
    assert passed.passed
    assert "(square, 200 queries)" in passed.verdict
    assert not run_check(round_without_gradient, ATTACKS[:1], masked_diagnostics).passed


@pytest.mark.parametrize(("fooled_by_grey_box", "passes"), [(0, True), (6, False)])
def test_grey_box_must_not_fool_more_images(
    plant, toy_split, clean_diagnostics, fooled_by_grey_box, passes
):
    measurements = Measurements(plant(identity), toy_split)
    for attack, threat_model, fooled in (
        ("none", "none", 0),
        ("fgsm", "grey_box", fooled_by_grey_box),
        ("fgsm", "white_box", 0),
    ):
        predicted = np.where(np.arange(24) < fooled, (toy_split.labels + 1) % 3, toy_split.labels)
        results = PerImageResults(predicted, np.zeros((24, 3), np.float32))
        measurements.add(ResultKey("planted", attack, threat_model), 0.1, results)
    result = WHITE_BOX_STRONGEST.run(CheckEvidence(measurements, clean_diagnostics, ("planted",)))
    assert f"{fooled_by_grey_box} of 24 (grey box)" in result.verdict
    assert result.passed == passes
