from types import SimpleNamespace

import pytest

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


@pytest.mark.parametrize(
    ("changed", "difference", "passes"),
    [(0, 1e-3, True), (0, 1.1e-3, False), (1, 0.0, False)],
)
def test_neither_a_class_nor_the_logits_may_change(evidence_of, changed, difference, passes):
    diagnostics = SimpleNamespace(n=24, batch_dependence=(changed, difference))
    assert BATCH_INDEPENDENCE.run(evidence_of(diagnostics)).passed == passes
