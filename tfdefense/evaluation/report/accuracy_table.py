"""The table of a report: accuracies by attack, radius, pipeline and threat model."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from tfdefense.evaluation.result import format_accuracy
from tfdefense.evaluation.threat_models import ANY_WHITE_BOX

if TYPE_CHECKING:
    from tfdefense.evaluation.report.report import Report


def accuracy_table(report: "Report") -> list[list[str]]:
    """Return the header and a line per attack and radius; columns are those of `Report.columns`.

    A white-box column is next to each grey-box column. Worst cases have several lines if the attacks
    of the threat models have different radii.

    Raises:
      ValueError: no column has the row of a line, because rows contradict each other.
    """
    columns = report.columns()
    table = [["attack", *(title for title, _, _ in columns)], _clean_line(report, columns)]
    for attack, epsilon in _attacked_lines(report):
        rows = [report.row(pipeline, attack, model) for _, pipeline, model in columns]
        rows = [row if row and row.epsilon == epsilon else None for row in rows]
        title = attack if epsilon is None else f"{attack} {epsilon:.3g}"
        if not any(rows):
            raise ValueError(f"{title}: a row without a column")
        table.append([title, *map(format_accuracy, rows)])
    return table


def _attacked_lines(report: "Report") -> list[tuple[str, float | None]]:
    """Return label and radius of each line, in the order of the rows."""
    attacked = (
        (row.attack, row.epsilon)
        for row in report.rows
        if row.attack != "none" and row.threat_model != ANY_WHITE_BOX  # It has no column.
    )
    return list(dict.fromkeys(attacked))


def _clean_line(report: "Report", columns: Sequence[tuple[str, str, str]]) -> list[str]:
    line, seen = ["none (clean)"], set()
    for _, pipeline, _ in columns:
        row = None if pipeline in seen else report.row(pipeline, "none", "none")
        line.append(format_accuracy(row))
        seen.add(pipeline)
    return line
