from types import SimpleNamespace

import numpy as np
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


@pytest.mark.parametrize(
    ("losses", "passes"),
    [([1, 3, 2.8], True), ([1, 3, 2], False), ([1, 1.1, 1], False), ([1, 1.01, 1.01], True)],
)
def test_the_last_loss_is_above_the_first_and_close_to_the_highest(evidence_of, losses, passes):
    trace = SimpleNamespace(losses=np.array(losses)[:, None] + [-0.5, 0.5])
    result = LOSS_RISES.run(evidence_of(SimpleNamespace(epsilon=0.1, trace=trace)))
    assert result.passed == passes
    assert f"over 2 PGD steps: 1 at the start, {losses[-1]:.3g} at the end" in result.verdict
