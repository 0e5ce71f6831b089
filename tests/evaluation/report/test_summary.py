import dataclasses

import pytest

from tfdefense.cli.printing import print_report
from tfdefense.evaluation.checks.check import NOT_CHECKED, CheckResult
from tfdefense.evaluation.detection import Detection
from tfdefense.evaluation.report.render import to_markdown


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


@pytest.mark.parametrize(
    ("verdicts", "summary", "printed"),
    [
        (
            ["", "", NOT_CHECKED],
            "1 of 3 checks could not run, so these attacks may be too weak.",
            "2 of 2 checks passed. 1 could not run.",
        ),
        (["", "Not checked: a"], "At least half", "1 of 1 checks passed. 1 could not run."),
        (["Not checked: a"], "No checks ran, so these attacks may be too weak.", "No checks ran."),
    ],
)
def test_a_check_that_could_not_run_has_not_passed(report, capsys, verdicts, summary, printed):
    checks = tuple(
        CheckResult(str(number), passed=True, verdict=each) for number, each in enumerate(verdicts)
    )
    changed = with_worst_case(report, 0.5)
    changed = dataclasses.replace(changed, checks=checks, largest_class=None)
    assert summary in changed.summary
    print_report(changed)
    assert capsys.readouterr().out.endswith(f"{printed}\n")
    assert to_markdown(changed).count("✓") == verdicts.count("")


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


def with_unbounded_attack(report, *threat_models):
    """Return a report with rows of an attack without a radius; no checks, and no class is frequent."""
    rows = [
        dataclasses.replace(row, attack="cw", epsilon=None)
        for row in report.rows
        if row.attack == "bim" and row.threat_model in threat_models
    ]
    return dataclasses.replace(report, rows=(*report.rows, *rows), checks=(), largest_class=None)


def test_attacks_without_a_radius_have_no_part_in_the_claims(report):
    robust = with_worst_case(report, report.row("none", "none", "none").accuracy)
    passed = CheckResult("First", passed=True, verdict="")
    mixed = with_unbounded_attack(robust, "white_box", "grey_box")
    mixed = dataclasses.replace(mixed, checks=(passed,))
    for words in (
        "The share of images that stay correct under every attack with a radius is",
        "At least half of the images withstand the attacks with a radius, even if",
        "No attack with a radius fools the classifier without the defence",
    ):
        assert words in mixed.summary
    assert "and under every attack of the column that has a radius." in to_markdown(mixed)
    pure = dataclasses.replace(mixed, rows=robust.rows)
    assert "with a radius" not in pure.summary
    assert "and under every attack of the column." in to_markdown(pure)


def test_attacks_without_a_radius_count_if_their_column_has_no_others(report):
    rows = [
        row if row.attack == "none" else dataclasses.replace(row, epsilon=None)
        for row in report.rows
    ]
    rows += [
        dataclasses.replace(row, threat_model="black_box")
        for row in report.rows
        if row.threat_model == "white_box"
    ]
    assert "under every attack is" in dataclasses.replace(report, rows=tuple(rows)).summary


def test_refused_clean_images_are_mentioned(report):
    detection = Detection("none", "none", 0.125, 24, 0.04, 0.3, None)
    summary = dataclasses.replace(report, detections=(detection,)).summary
    assert "also refuses 12.5% of the clean images, and these count as wrong" in summary


def test_a_defence_that_answers_one_class_is_not_called_robust(report):
    clean = report.row("apeganpp", "none", "none")
    at_chance = dataclasses.replace(report, largest_class=clean.accuracy)
    assert (
        "Clean accuracy is no better than the same class for every image"
        f" ({clean.accuracy:.1%} correct), so robustness means nothing here." in at_chance.summary
    )
    unknown = dataclasses.replace(report, largest_class=clean.ci_low)
    assert "no better" not in unknown.summary
    assert (
        f"is not shown to be better than the same class for every image ({clean.ci_low:.1%} correct):"
        f" its 95 % interval is [{100 * clean.ci_low:.1f}, {100 * clean.ci_high:.1f}]."
        in unknown.summary
    )
    above = dataclasses.replace(report, largest_class=clean.ci_low - 0.01)
    assert "better" not in above.summary
    assert "no better" not in dataclasses.replace(report, largest_class=None).summary
