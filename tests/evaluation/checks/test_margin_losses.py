from types import SimpleNamespace

import numpy as np
import pytest

from tests.evaluation.checks.planted_flaws import confident
from tfdefense.attacks import APGDDLR, PGD
from tfdefense.evaluation.checks.margin_losses import MARGIN_LOSSES
from tfdefense.evaluation.checks.sizes import CheckSizes


@pytest.mark.slow
def test_attack_on_cross_entropy_alone_fails_if_the_pipeline_is_confident(
    evidence_of, diagnose, run_planted, toy_split
):
    runner = run_planted(confident)
    for attack, passes in ((PGD(epsilon=0.25), False), (APGDDLR(epsilon=0.25, steps=20), True)):
        attacked = runner.attack(attack, toy_split)
        withstood = runner.predict(attacked) == toy_split.labels
        result = MARGIN_LOSSES.run(evidence_of(diagnose(confident, withstood=withstood)))
        assert result.passed == passes
        assert ("apgd_dlr" in result.verdict) != passes


@pytest.mark.parametrize(
    ("num_classes", "named"),
    [
        (2, "--attacks=square or --attacks=auto_attack."),
        (3, "--attacks=apgd_dlr."),
        (4, "--attacks=apgd_dlr or --attacks=apgd_t."),
    ],
)
def test_the_verdict_names_attacks_that_fit_the_classes(evidence_of, num_classes, named):
    diagnostics = SimpleNamespace(
        missed_by_margin_loss=9, n=24, num_classes=num_classes, has_bounded_attacks=True
    )
    diagnostics.sizes = CheckSizes(images=24, steps=12, draws=200)
    result = MARGIN_LOSSES.run(evidence_of(diagnostics))
    assert not result.passed
    assert result.verdict.endswith(f" Add {named}")


def test_pipeline_without_a_flaw_passes(evidence_of, clean_diagnostics):
    assert not np.any(clean_diagnostics.withstood)
    assert MARGIN_LOSSES.run(evidence_of(clean_diagnostics)).passed
