from types import SimpleNamespace

import numpy as np
import pytest

from tfdefense.evaluation.checks.falls_to_chance import FALLS_TO_CHANCE


def test_pipeline_that_an_unbounded_attack_fools_passes(evidence_of, clean_diagnostics):
    result = FALLS_TO_CHANCE.run(evidence_of(clean_diagnostics))
    assert result.passed
    assert result.verdict == "White-box accuracy with epsilon 1: 0%, n = 24."


def test_attack_that_cannot_reach_chance_fails(evidence_of, reversed_diagnostics):
    """With the wrong sign of the gradient, the attack moves towards the true class."""
    result = FALLS_TO_CHANCE.run(evidence_of(reversed_diagnostics))
    assert not result.passed
    assert "must fall to chance (33%)" in result.verdict


@pytest.mark.parametrize(("correct", "passes"), [(10, True), (12, True), (13, False)])
def test_accuracy_may_be_above_chance_by_chance(evidence_of, correct, passes):
    diagnostics = SimpleNamespace(
        n=24, num_classes=3, fooled_without_bound=np.arange(24) >= correct
    )
    assert FALLS_TO_CHANCE.run(evidence_of(diagnostics)).passed == passes
