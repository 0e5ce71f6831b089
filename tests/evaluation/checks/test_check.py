"""Checks that count missed images: without an attack to compare with, and how many are few."""

import numpy as np
import pytest

from tests.evaluation.checks.planted_flaws import identity
from tfdefense.evaluation.checks.check import CheckEvidence, is_few
from tfdefense.evaluation.checks.registry import CHECKS
from tfdefense.evaluation.checks.square_finds_nothing import SQUARE_FINDS_NOTHING
from tfdefense.evaluation.checks.white_box_strongest import WHITE_BOX_STRONGEST
from tfdefense.evaluation.measurements import Measurements
from tfdefense.evaluation.per_image_results import PerImageResults, ResultKey

COUNTS_MISSED = {
    *("white_box_strongest", "square_finds_nothing", "silent_success", "optimization_finished"),
    *("step_size", "attacks_converged", "margin_losses", "surrogate_transfer", "random_noise"),
}


@pytest.fixture
def evidence(plant, toy_split, unbounded_diagnostics):
    """Return the evidence of attacks (label, threat model, radius), which fool no image."""

    def evidence(*attacks):
        measurements = Measurements(plant(identity), toy_split)
        for label, threat_model, epsilon in (("none", "none", 0.0), *attacks):
            results = PerImageResults(toy_split.labels, np.zeros((24, 3), np.float32))
            measurements.add(ResultKey("planted", label, threat_model), epsilon, results)
        return CheckEvidence(measurements, unbounded_diagnostics, ("planted",))

    return evidence


@pytest.mark.parametrize("attack", [("cw", None), ("pgd:norm=l2", 1.5)])
def test_no_check_blames_attacks_that_the_report_does_not_have(evidence, attack):
    given = evidence((attack[0], "white_box", attack[1]))
    results = {check.key: check.run(given) for check in CHECKS}
    not_checked = {key for key, result in results.items() if "Not checked" in result.verdict}
    assert not_checked == COUNTS_MISSED
    for key in COUNTS_MISSED:
        assert results[key].passed
        assert results[key].verdict == (
            "Not checked: the report has no L-infinity attack with a radius."
        )
    assert not {"square", "noise", "more_effort"} & set(given.diagnostics.progress.begun)


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.key)
def test_a_check_begins_the_probes_that_it_names(evidence_of, diagnose, check):
    fooled = np.zeros(24, bool)
    evidence = evidence_of(diagnose(identity, withstood=fooled))
    clean = PerImageResults(np.zeros(24, np.int32), np.zeros((24, 3), np.float32))
    evidence.measurements.add(ResultKey("planted", "none", "none"), 0.0, clean)
    check.run(evidence)
    assert set(evidence.diagnostics.progress.begun) == set(check.probes)


def test_rows_of_the_report_are_still_compared(evidence):
    l2 = [("pgd:norm=l2", name, 1.5) for name in ("white_box", "grey_box")]
    given = evidence(*l2, ("square:norm=l2", "black_box", 1.5))
    found = WHITE_BOX_STRONGEST.run(given)
    assert found.passed
    assert "0 of 24 (grey box), 0 of 24 (black box)." in found.verdict
    assert "(0 of 24, square, black box)" in SQUARE_FINDS_NOTHING.run(given).verdict
    assert "0 of 24 (grey box)." in WHITE_BOX_STRONGEST.run(evidence(*l2)).verdict


@pytest.mark.parametrize(
    ("count", "n", "few"),
    [(0, 24, True), (1, 24, True), (2, 24, False), (15, 1_000, True), (20, 1_000, False)],
)
def test_few_images_are_what_chance_explains(count, n, few):
    assert is_few(count, n) == few
