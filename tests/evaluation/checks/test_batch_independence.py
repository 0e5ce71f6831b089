from tests.evaluation.checks.planted_flaws import subtract_batch_mean
from tfdefense.evaluation.checks.batch_independence import BATCH_INDEPENDENCE


def test_pipeline_that_treats_images_one_by_one_passes(evidence_of, clean_diagnostics):
    result = BATCH_INDEPENDENCE.run(evidence_of(clean_diagnostics))
    assert result.passed
    assert "0 of 24 images get another class" in result.verdict


def test_pipeline_that_depends_on_the_batch_fails(evidence_of, diagnose):
    result = BATCH_INDEPENDENCE.run(evidence_of(diagnose(subtract_batch_mean)))
    assert not result.passed
    assert "inference mode" in result.verdict
