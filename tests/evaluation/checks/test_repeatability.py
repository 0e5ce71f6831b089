from types import SimpleNamespace

import pytest

from tests.evaluation.checks.planted_flaws import draw_noise
from tfdefense.evaluation.checks.repeatability import REPEATABILITY


def test_pipeline_without_random_numbers_passes(evidence_of, clean_diagnostics):
    result = REPEATABILITY.run(evidence_of(clean_diagnostics))
    assert result.passed
    assert "0 of 24 images get another class" in result.verdict


def test_pipeline_that_draws_anew_fails(evidence_of, diagnose):
    result = REPEATABILITY.run(evidence_of(diagnose(draw_noise)))
    assert not result.passed
    assert "attacks.Expectation" in result.verdict


@pytest.mark.parametrize(
    ("changed", "difference", "passes"),
    [(0, 1e-4, True), (0, 1.1e-4, False), (1, 0.0, False)],
)
def test_neither_a_class_nor_the_logits_may_change(evidence_of, changed, difference, passes):
    diagnostics = SimpleNamespace(n=24, repetition=(changed, difference))
    assert REPEATABILITY.run(evidence_of(diagnostics)).passed == passes
