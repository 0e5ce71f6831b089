from tfdefense.evaluation.checks.gradients_exist import GRADIENTS_EXIST


def test_pipeline_with_gradients_passes(evidence_of, clean_diagnostics):
    result = GRADIENTS_EXIST.run(evidence_of(clean_diagnostics))
    assert result.passed
    assert "zero at every pixel of 0 of 24 images" in result.verdict


def test_masked_gradients_fail(evidence_of, masked_diagnostics):
    result = GRADIENTS_EXIST.run(evidence_of(masked_diagnostics))
    assert not result.passed
    assert "zero at every pixel of 24 of 24 images" in result.verdict
    assert "Declare a surrogate gradient" in result.verdict
