"""Lines of the figure of a comparison."""

import dataclasses

import pytest

from tests.evaluation.report.conftest import with_accuracies, with_names
from tfdefense.evaluation.checks.check import CheckResult
from tfdefense.evaluation.report.comparison import Comparison
from tfdefense.evaluation.report.comparison_figure import save_comparison_figure

ATTACKS = ("fgsm", "fgsm_predicted", "bim", "worst_case")


@pytest.fixture
def compared(report, tmp_path, drawn):
    """Reports of two defences, and the axes that compare them; a check of the second one failed."""
    failed = CheckResult("Gradients exist", passed=False, verdict="None exists.")
    other = dataclasses.replace(with_names(report, defense="other"), checks=(failed,))
    reports = {"apeganpp": with_accuracies(report, 10), "other": with_accuracies(other, 50)}
    save_comparison_figure(Comparison(reports), tmp_path / "comparison.png")
    return reports, drawn[0].axes


def accuracies(report, defense, threat_model):
    rows = [report.row(defense, "none", "none")]
    rows += [report.row(defense, attack, threat_model) for attack in ATTACKS]
    return [row.accuracy for row in rows]


def test_each_line_has_the_accuracies_of_its_report_and_threat_model(compared):
    reports, axes = compared
    assert [axis.get_title() for axis in axes] == ["grey box", "white box"]
    for axis, threat_model in zip(axes, ("grey_box", "white_box"), strict=True):
        names = [label.get_text() for label in axis.get_xticklabels()]
        assert names == ["clean", *ATTACKS]
        undefended, *defended = [list(line.get_ydata()) for line in axis.lines]
        assert undefended == accuracies(reports["apeganpp"], "none", "white_box")
        assert defended == [
            accuracies(report, name, threat_model) for name, report in reports.items()
        ]


def test_a_defence_whose_checks_failed_looks_different(compared):
    for axis in compared[1]:
        styles = {
            line.get_label(): (line.get_linestyle(), line.get_markerfacecolor())
            for line in axis.lines[1:]
        }
        assert styles.pop("other (failed checks)") == ("--", "white")
        ((name, (linestyle, marker_fill)),) = styles.items()
        assert (name, linestyle) == ("apeganpp", "-")
        assert marker_fill != "white"
