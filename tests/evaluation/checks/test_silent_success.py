import numpy as np
import pytest

from tests.evaluation.checks.planted_flaws import amplify_small_differences, identity
from tfdefense.attacks import BIM
from tfdefense.evaluation.checks.silent_success import SILENT_SUCCESS

EPSILON, STEPS = 0.08, 40


@pytest.fixture
def run_check(evidence_of, diagnose, run_planted, toy_split):
    """Return the check's result for a report whose attack goes to and fro across the boundary."""

    def run_check(*, stop_at_success):
        attack = BIM(
            epsilon=EPSILON,
            steps=STEPS,
            relative_step_size=4 / 3 / STEPS,
            stop_at_success=stop_at_success,
        )
        runner = run_planted(amplify_small_differences)
        withstood = runner.predict(runner.attack(attack, toy_split)) == toy_split.labels
        diagnostics = diagnose(amplify_small_differences, EPSILON, withstood, STEPS)
        return SILENT_SUCCESS.run(evidence_of(diagnostics))

    return run_check


@pytest.mark.slow
def test_attack_that_returns_only_its_last_image_fails(run_check):
    result = run_check(stop_at_success=False)
    assert not result.passed
    assert "Stop at success" in result.verdict


def test_attack_that_stops_at_success_passes(run_check):
    result = run_check(stop_at_success=True)
    assert result.passed
    assert "The attacks of this report miss 0 images" in result.verdict


def test_pipeline_without_a_flaw_passes(evidence_of, diagnose):
    diagnostics = diagnose(identity, withstood=np.zeros(24, bool))
    result = SILENT_SUCCESS.run(evidence_of(diagnostics))
    assert result.passed
    assert "at a correct one for 0 of 24 images" in result.verdict
