import dataclasses

import pytest

from tfdefense.evaluation.checks.check import CheckResult
from tfdefense.evaluation.detection import Detection


def with_worst_case(report, accuracy):
    rows = [
        dataclasses.replace(row, accuracy=accuracy) if row.attack == "worst_case" else row
        for row in report.rows
    ]
    return dataclasses.replace(report, rows=tuple(rows))


@pytest.mark.parametrize(
    ("accuracy", "second_passed", "verdict"),
    [
        (0.49, True, "The defence does not stop an attacker who knows it."),
        (0.49, False, "The defence does not stop an attacker who knows it."),
        (0.5, True, "At least half of the images withstand these attacks"),
        (0.5, False, "1 of 2 checks failed, so the true robustness is unknown."),
    ],
)
def test_verdict_follows_white_box_accuracy_and_checks(report, accuracy, second_passed, verdict):
    checks = (
        CheckResult("First", passed=True, verdict=""),
        CheckResult("Second", passed=second_passed, verdict=""),
    )
    changed = dataclasses.replace(
        with_worst_case(report, accuracy), checks=checks, largest_class=None
    )
    assert verdict in changed.summary


def test_summary_has_clean_accuracy_and_both_robust_accuracies(report):
    clean = report.row("apeganpp", "none", "none")
    grey_box, white_box = (
        report.row("apeganpp", "worst_case", name) for name in ("grey_box", "white_box")
    )
    assert report.summary.startswith(
        f"With apeganpp, {clean.accuracy:.1%} of 24 clean test images are classified correctly. The"
        f" share of images that stay correct under every attack is {grey_box.accuracy:.1%} (n = 24) if"
        f" the attacker knows only the classifier (grey box), and {white_box.accuracy:.1%} (n = 9) if the"
        " attacker knows classifier and defence (white box)."
    )


def test_attacks_that_do_not_fool_the_classifier_alone_are_mentioned(report):
    warning = "No attack fools the classifier without the defence"
    clean = report.row("none", "none", "none")
    assert warning not in with_worst_case(report, clean.accuracy - 0.01).summary
    assert warning in with_worst_case(report, clean.accuracy).summary


def test_refused_clean_images_are_mentioned(report):
    detection = Detection("none", "none", 0.125, 24, 0.04, 0.3, None)
    summary = dataclasses.replace(report, detections=(detection,)).summary
    assert "also refuses 12.5% of the clean images, and these count as wrong" in summary


def test_a_defence_that_answers_one_class_is_not_called_robust(report):
    clean = report.row("apeganpp", "none", "none")
    at_chance = dataclasses.replace(report, largest_class=clean.ci_low)
    assert "no better than the same class for every image" in at_chance.summary
    above = dataclasses.replace(report, largest_class=clean.ci_low - 0.01)
    assert "no better" not in above.summary
    assert "no better" not in dataclasses.replace(report, largest_class=None).summary
