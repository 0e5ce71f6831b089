import dataclasses

import numpy as np
import pytest

from tests.evaluation.checks.planted_flaws import identity
from tfdefense.evaluation.checks.check import CheckEvidence
from tfdefense.evaluation.checks.label_leaking import LABEL_LEAKING
from tfdefense.evaluation.measurements import Measurements
from tfdefense.evaluation.per_image_results import PerImageResults, ResultKey


@pytest.fixture
def run_check(plant, toy_split, clean_diagnostics):
    """Return the check's result for numbers of correct images, clean and under two attacks."""

    def run_check(clean, grey_box, white_box, **fields):
        measurements = Measurements(plant(identity), toy_split)
        counts = {("none", "none"): clean, ("fgsm", "grey_box"): grey_box}
        counts["fgsm", "white_box"] = white_box
        for (attack, threat_model), correct in counts.items():
            predicted = np.where(
                np.arange(24) < correct, toy_split.labels, (toy_split.labels + 1) % 3
            )
            results = PerImageResults(predicted, np.zeros((24, 3), np.float32), **fields)
            measurements.add(ResultKey("planted", attack, threat_model), 0.1, results)
        return LABEL_LEAKING.run(CheckEvidence(measurements, clean_diagnostics, ("planted",)))

    return run_check


def test_attacks_that_lower_accuracy_pass(run_check):
    result = run_check(clean=20, grey_box=15, white_box=1)
    assert result.passed
    assert "above the 83.3% on clean images" in result.verdict


def test_attack_that_raises_accuracy_by_chance_passes(run_check):
    assert run_check(clean=20, grey_box=21, white_box=1).passed


def test_attack_that_raises_accuracy_fails(run_check):
    result = run_check(clean=5, grey_box=24, white_box=1)
    assert not result.passed
    assert "100.0% under fgsm (grey box), but 20.8% on clean images" in result.verdict
    assert "leaks the true label into the image" in result.verdict


@pytest.mark.parametrize(("counted", "passes"), [(slice(0, 12), True), (slice(12, 24), False)])
def test_a_row_of_some_images_is_compared_with_its_own_clean_accuracy(
    plant, toy_split, clean_diagnostics, counted, passes
):
    """Under the attack all 24 images are correct, of which the first 12 are correct before it."""
    measurements, labels = Measurements(plant(identity), toy_split), toy_split.labels
    norms, is_counted = np.zeros((24, 3), np.float32), np.zeros(24, bool)
    is_counted[counted] = True
    clean = PerImageResults(np.where(np.arange(24) < 12, labels, (labels + 1) % 3), norms)
    attacked = PerImageResults(labels, norms, counted=is_counted)
    measurements.add(ResultKey("planted", "none", "none"), 0.0, clean)
    measurements.add(ResultKey("planted", "fgsm", "grey_box"), 0.1, attacked)
    evidence = CheckEvidence(measurements, clean_diagnostics, ("planted",))
    assert LABEL_LEAKING.run(evidence).passed == passes


def test_defence_with_a_detector_is_not_checked(run_check):
    result = run_check(clean=5, grey_box=24, white_box=1, excess=np.zeros(24, np.float32))
    assert result.passed
    assert "Not checked" in result.verdict


def test_report_without_label_leaking_passes_and_changed_one_fails(
    defense, report, toy_split, clean_diagnostics
):
    measurements = Measurements(defense, toy_split)
    measurements.per_image = report.per_image
    evidence = CheckEvidence(measurements, clean_diagnostics, ("apeganpp",))

    def with_accuracy(row):
        value = 0.2 if row.attack == "none" else 1.0
        return dataclasses.replace(row, accuracy=value, ci_low=value, ci_high=value)

    measurements.rows = [with_accuracy(row) for row in report.rows]
    result = LABEL_LEAKING.run(evidence)
    assert not result.passed
    assert "leaks the true label into the image" in result.verdict
    measurements.rows = list(report.rows)
    assert LABEL_LEAKING.run(evidence).passed
