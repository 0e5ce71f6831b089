from types import SimpleNamespace

import numpy as np
import pytest

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


@pytest.mark.parametrize(("blind", "passes"), [(5, True), (6, False)])
def test_one_image_in_twenty_may_lack_a_gradient(evidence_of, blind, passes):
    trace = SimpleNamespace(no_gradient=np.arange(100) < blind)
    result = GRADIENTS_EXIST.run(evidence_of(SimpleNamespace(n=100, trace=trace)))
    assert result.passed == passes
    assert f"of {blind} of 100 images" in result.verdict
