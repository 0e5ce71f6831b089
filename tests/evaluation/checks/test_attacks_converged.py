import numpy as np

from tests.evaluation.checks.planted_flaws import identity
from tfdefense.attacks import FGSM
from tfdefense.evaluation.checks.attacks_converged import ATTACKS_CONVERGED


def test_strong_attack_passes(evidence_of, clean_diagnostics):
    result = ATTACKS_CONVERGED.run(evidence_of(clean_diagnostics))
    assert result.passed
    assert "0 of 24 (30 steps), 0 of 24 (5 restarts)" in result.verdict


def test_weak_attack_fails(evidence_of, weakly_attacked_diagnostics):
    result = ATTACKS_CONVERGED.run(evidence_of(weakly_attacked_diagnostics))
    assert not result.passed
    assert "auto_attack" in result.verdict


def test_single_step_fails(evidence_of, diagnose, toy_model, toy_split):
    images = FGSM(epsilon=0.12)(toy_model, toy_split.images, toy_split.labels)
    withstood = np.argmax(toy_model(images), axis=-1) == toy_split.labels
    diagnostics = diagnose(identity, epsilon=0.12, withstood=withstood)
    assert not ATTACKS_CONVERGED.run(evidence_of(diagnostics)).passed
