from tests.evaluation.checks.planted_flaws import amplify_small_differences
from tfdefense.evaluation.checks.rounding import ROUNDING


def test_images_that_still_fool_pass(evidence_of, clean_diagnostics):
    result = ROUNDING.run(evidence_of(clean_diagnostics))
    assert result.passed
    assert "Of 24 images that PGD fools, 0 no longer fool" in result.verdict


def test_attack_between_two_values_of_an_image_file_fails(evidence_of, diagnose):
    diagnostics = diagnose(amplify_small_differences, epsilon=0.08, steps=40)
    result = ROUNDING.run(evidence_of(diagnostics))
    assert not result.passed
    assert "no image file has" in result.verdict
