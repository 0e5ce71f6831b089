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
