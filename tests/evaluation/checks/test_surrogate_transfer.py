import pytest

from tests.evaluation.checks.planted_flaws import declare_identity, identity
from tfdefense.attacks import bpda
from tfdefense.evaluation.checks.surrogate_transfer import SURROGATE_TRANSFER


def declare_itself(images):
    """A purifier that declares its true gradient."""
    return bpda(identity, identity)(images)


def test_pipeline_without_a_declared_gradient_passes(evidence_of, clean_diagnostics):
    result = SURROGATE_TRANSFER.run(evidence_of(clean_diagnostics))
    assert result.passed
    assert "No step" in result.verdict


@pytest.mark.slow
def test_surrogate_that_equals_the_step_passes(evidence_of, diagnose):
    result = SURROGATE_TRANSFER.run(evidence_of(diagnose(declare_itself, epsilon=0.12)))
    assert result.passed
    assert "on 0 of 24 images" in result.verdict


@pytest.mark.slow
def test_surrogate_that_is_far_from_the_step_fails(evidence_of, diagnose):
    result = SURROGATE_TRANSFER.run(evidence_of(diagnose(declare_identity, epsilon=0.12)))
    assert not result.passed
    assert "Declare a function that is closer" in result.verdict
