"""Comparison of several defences under the same attacks, in one table and one figure."""

import dataclasses
import itertools
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from tfdefense.errors import UserError, require
from tfdefense.evaluation.report.comparable_reports import require_comparable
from tfdefense.evaluation.report.comparison_figure import save_comparison_figure
from tfdefense.evaluation.report.html_page import page_html
from tfdefense.evaluation.report.page import Page, Picture, Section, Term, page_markdown
from tfdefense.evaluation.report.report import Report
from tfdefense.evaluation.report.sections import failed_check_terms
from tfdefense.evaluation.result import ResultRow, format_accuracy
from tfdefense.evaluation.threat_models import ANY_WHITE_BOX
from tfdefense.training.run_directory import RunDirectory
from tfdefense.utils.atomic_write import write_text_file
from tfdefense.utils.csv_cells import rows_as_csv
from tfdefense.utils.real_path import real_path
from tfdefense.utils.tables import latex_table
from tfdefense.utils.untrusted_file import read_text_file

UNDEFENDED = "undefended"  # Column of the classifier alone.


class ComparisonLine(NamedTuple):
    """A line of the table.

    Attributes:
      attack, epsilon: as in `ResultRow`.
      attacks: for a worst case, label and radius of each attack that it is computed from.
    """

    attack: str
    epsilon: float | None
    attacks: tuple[tuple[str, float | None], ...] = ()


@dataclasses.dataclass(frozen=True)
class Comparison:
    """Reports on the same images and classifier.

    Attributes:
      reports: by the name that each has in the table.

    Raises:
      UserError: fewer than two reports, or reports on different datasets or classifiers.
    """

    reports: dict[str, Report]

    def __post_init__(self) -> None:
        require(
            len(self.reports) >= 2,
            f"--compare: {len(self.reports)} run given; at least two are needed.",
        )
        # Every pair: a report without a fingerprint may be compared with any.
        for first, second in itertools.combinations(self.reports.items(), 2):
            require_comparable(first, second)

    def lines(self) -> list[ComparisonLine]:
        """Return the lines of the table; clean images first, worst cases last."""
        found = dict.fromkeys(
            ComparisonLine(row.attack, row.epsilon, _worst_case_attacks(report, row))
            for report in self.reports.values()
            for row in report.rows
            if row.threat_model != ANY_WHITE_BOX  # It has no column.
        )
        return sorted(found, key=lambda line: (line.attack != "none", line.attack == "worst_case"))

    def line_title(self, line: ComparisonLine) -> str:
        """Return the first cell of a line; worst cases over different attacks name the attacks.

        An attack has its radius there if another worst case has it with another radius.
        """
        if line.attack == "none":
            return "none (clean)"
        title = _attack_title(line.attack, line.epsilon or None)
        different = {other.attacks for other in self.lines() if other.attack == line.attack}
        if len(different) == 1:
            return title
        radii: dict[str, set[float | None]] = {}
        for label, epsilon in itertools.chain(*different):
            radii.setdefault(label, set()).add(epsilon)
        names = [
            _attack_title(label, epsilon if len(radii[label]) > 1 else None)
            for label, epsilon in line.attacks
        ]
        return f"{title} ({', '.join(names)})"

    def row(self, name: str, line: ComparisonLine, column: str) -> ResultRow | None:
        """Return the row of a report for a line and a column.

        Args:
          name: name of the report.
          line: attack of the line.
          column: a threat model, or `UNDEFENDED` for attacks on the classifier alone.
        """
        report = self.reports[name]
        undefended = column == UNDEFENDED
        defense = "none" if undefended else report.defense
        threat_model = "white_box" if undefended else column
        row = report.row(defense, line.attack, "none" if line.attack == "none" else threat_model)
        if row is None:
            return None
        same = (row.epsilon, _worst_case_attacks(report, row)) == (line.epsilon, line.attacks)
        return row if same else None

    def undefended_row(self, line: ComparisonLine) -> ResultRow | None:
        """Return the undefended row of the first report that has one for a line."""
        rows = (self.row(name, line, UNDEFENDED) for name in self.reports)
        return next((row for row in rows if row), None)

    def table(self) -> list[list[str]]:
        """Return header and lines: undefended, then the threat models of each defence."""
        columns = [
            (name, threat_model)
            for name, report in self.reports.items()
            for threat_model in report.threat_models()
        ]
        titles = [
            f"{name}, {self.reports[name].threat_model_title(model)}" for name, model in columns
        ]
        table = [["attack", UNDEFENDED, *titles]]
        for line in self.lines():
            rows = [
                self.undefended_row(line),
                *(self.row(name, line, box) for name, box in columns),
            ]
            table.append([self.line_title(line), *map(format_accuracy, rows)])
        return table

    def page(self) -> Page:
        """Return the table, the figure and the summaries of the reports as a page."""
        first = next(iter(self.reports.values())).rows[0]
        warnings = [
            warning
            for name, report in self.reports.items()
            for warning in failed_check_terms(report, f"{name}: ")
        ]
        text = (
            "Each cell is the accuracy on test images, its 95 % Wilson interval in percent, and the number"
            " of images n. Undefended and grey box: the attack knows only the classifier. White box: the"
            " attack knows the defence and the classifier."
        )
        table = Section(paragraphs=(text,), table=self.table())
        picture = Picture("Accuracy of each defence under each attack", "comparison.png")
        terms = [Term(name, report.summary) for name, report in self.reports.items()]
        terms += self._note_terms()
        details = Section(picture=picture, terms=tuple(terms))
        title = f"{len(self.reports)} defences in front of {first.classifier} on {first.dataset}"
        return Page(title, "", tuple(warnings), (table, details))

    def _note_terms(self) -> list[Term]:
        """Return each note once if all reports have it, else with the name of its report."""
        owners: dict[str, list[str]] = {}
        for name, report in self.reports.items():
            for note in report.notes:
                owners.setdefault(note, []).append(name)
        return [
            Term("" if len(names) == len(self.reports) else ", ".join(names), note)
            for note, names in owners.items()
        ]

    def save(self, directory: Path) -> None:
        """Write `comparison.md|html|tex|csv|png|svg`.

        Raises:
          UserError: `directory`, or a folder above it, is a file.
        """
        try:
            directory.mkdir(parents=True, exist_ok=True)
        except (FileExistsError, NotADirectoryError) as error:
            raise UserError(
                f"--output={directory}: it, or a folder above it, is a file. Name a directory."
            ) from error
        save_comparison_figure(self, directory / "comparison.png")
        page = self.page()
        write_text_file(directory / "comparison.md", page_markdown(page))
        write_text_file(directory / "comparison.html", page_html(page, directory))
        caption = "Accuracy under grey-box and white-box attacks, with 95 % Wilson intervals."
        write_text_file(directory / "comparison.tex", "\n".join(latex_table(self.table(), caption)))
        rows = [
            {"report": name, **dataclasses.asdict(row)}
            for name, report in self.reports.items()
            for row in report.rows
        ]
        write_text_file(directory / "comparison.csv", rows_as_csv(rows))


def compare_runs(runs: Sequence[RunDirectory]) -> Comparison:
    """Return the comparison of the reports of several runs.

    Raises:
      UserError: a run without a report, a report that cannot be read, a run given twice, or reports
        that cannot be compared.
    """
    reports: dict[str, Report] = {}
    paths: set[Path] = set()
    for run in runs:
        path = real_path(run.path)
        require(path not in paths, f"--compare={run.path}: given more than once.")
        paths.add(path)
        report = _load_report(run)
        name = report.defense
        reports[name if name not in reports else f"{name} ({run.path})"] = report
    return Comparison(reports)


def _load_report(run: RunDirectory) -> Report:
    path = run.path / "report.json"
    require(run.path.is_dir(), f"--compare={run.path}: no such run directory.")
    require(
        path.is_file(),
        f"--compare={run.path}: has no report yet. To make one: bin/evaluate --run={run.path}",
    )
    try:
        return Report.from_json(read_text_file(path))
    except Exception as error:  # There is another exception for each kind of damage.
        raise UserError(
            f"{path}: damaged, or written by another version. To make it again: bin/evaluate"
            f" --run={run.path}"
        ) from error


def _attack_title(label: str, epsilon: float | None) -> str:
    return label if epsilon is None else f"{label} {epsilon:.3g}"


def _worst_case_attacks(report: Report, row: ResultRow) -> tuple[tuple[str, float | None], ...]:
    """Return label and radius of the attacks behind a worst-case row; () for any other row."""
    if row.attack != "worst_case":
        return ()
    column = (row.defense, row.threat_model)
    rows = [
        each
        for each in report.rows
        if (each.defense, each.threat_model) == column and each.attack != "worst_case"
    ]
    bounded = [each for each in rows if each.epsilon is not None]
    attacks = [(each.attack, each.epsilon) for each in bounded or rows]
    return tuple(sorted(attacks, key=lambda attack: (attack[0], attack[1] or 0.0)))
