from tfdefense.evaluation.checks.step_size import STEP_SIZE


def test_strong_attack_passes(evidence_of, clean_diagnostics):
    result = STEP_SIZE.run(evidence_of(clean_diagnostics))
    assert result.passed
    assert "0 of 24 (one step of length epsilon)" in result.verdict


def test_weak_attack_fails(evidence_of, weakly_attacked_diagnostics):
    result = STEP_SIZE.run(evidence_of(weakly_attacked_diagnostics))
    assert not result.passed
    assert "too weak" in result.verdict
