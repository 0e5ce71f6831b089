from tests.evaluation.checks.planted_flaws import shatter
from tfdefense.evaluation.checks.loss_stability import LOSS_STABILITY


def test_smooth_pipeline_passes(evidence_of, clean_diagnostics):
    result = LOSS_STABILITY.run(evidence_of(clean_diagnostics))
    assert result.passed
    assert "8 draws" in result.verdict


def test_shattered_loss_fails(evidence_of, diagnose):
    result = LOSS_STABILITY.run(evidence_of(diagnose(shatter)))
    assert not result.passed
    assert "says little about the next step" in result.verdict
