import pytest

from tests.evaluation.checks.planted_flaws import identity
from tfdefense.evaluation.checks.loss_rises import LOSS_RISES


def test_pipeline_with_true_gradients_passes(evidence_of, clean_diagnostics):
    result = LOSS_RISES.run(evidence_of(clean_diagnostics))
    assert result.passed
    assert "over 12 PGD steps" in result.verdict


def test_epsilon_of_zero_is_not_checked(evidence_of, diagnose):
    result = LOSS_RISES.run(evidence_of(diagnose(identity, epsilon=0.0)))
    assert result.passed
    assert result.verdict.startswith("Not checked: epsilon is 0")


@pytest.mark.slow
def test_masked_gradients_fail(evidence_of, masked_diagnostics):
    assert not LOSS_RISES.run(evidence_of(masked_diagnostics)).passed


@pytest.mark.slow
def test_gradients_with_the_wrong_sign_fail(evidence_of, reversed_diagnostics):
    result = LOSS_RISES.run(evidence_of(reversed_diagnostics))
    assert not result.passed
    assert "mislead the attack" in result.verdict
