"""Several defences under the same attacks: one table and one figure."""

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import matplotlib
from matplotlib.axes import Axes

from tfdefense.errors import UserError, require
from tfdefense.evaluation.report.render import failed_check_lines, html_page
from tfdefense.evaluation.report.report import Report
from tfdefense.evaluation.result import ResultRow, format_accuracy
from tfdefense.evaluation.threat_models import THREAT_MODEL_TITLES
from tfdefense.training.run_directory import RunDirectory
from tfdefense.utils.atomic_write import write_text_file
from tfdefense.utils.figures import COLORS, MARKERS, STYLE, save_figure, subplots
from tfdefense.utils.tables import latex_table, markdown_table


class ComparisonLine(NamedTuple):
    """What a line of the table is of.

    Attributes:
      attack, epsilon: as in `Row`.
      over: of a worst case, the attacks that it is over.
    """

    attack: str
    epsilon: float | None
    over: tuple[str, ...] = ()


@dataclasses.dataclass(frozen=True)
class Comparison:
    """Reports on the same images and classifier.

    Attributes:
      reports: by the name that each goes by here.

    Raises:
      UserError: fewer than two, or of different datasets or classifiers.
    """

    reports: dict[str, Report]

    def __post_init__(self) -> None:
        require(len(self.reports) >= 2, "--compare: one run given, at least two needed.")
        first, *others = self.reports.items()
        for name, report in others:
            for field in ("dataset", "classifier"):
                ours, theirs = (getattr(r.rows[0], field) for r in (first[1], report))
                require(
                    ours == theirs,
                    f"--compare: {first[0]} is of {field} {ours}, {name} of {theirs}; the same needed.",
                )
            for what in ("classifier", "images"):
                ours, theirs = (r.fingerprints.get(what) for r in (first[1], report))
                require(
                    ours == theirs or None in (ours, theirs),
                    f"--compare: {first[0]} and {name} are of {what} of the same name, yet not the same (other weights, or"
                    " another --split_seed); the same needed.",
                )

    def lines(self) -> list[ComparisonLine]:
        """Those of the table; clean images first, worst cases last."""
        found = dict.fromkeys(
            ComparisonLine(row.attack, row.epsilon, _over(report, row))
            for report in self.reports.values()
            for row in report.rows
        )
        return sorted(found, key=lambda line: (line.attack != "none", line.attack == "worst_case"))

    def title(self, line: ComparisonLine) -> str:
        """What a line of the table begins with; of worst cases over different attacks, over which."""
        if line.attack == "none":
            return "none (clean)"
        title = line.attack if not line.epsilon else f"{line.attack} {line.epsilon:.3g}"
        alone = len({other.over for other in self.lines() if other.attack == line.attack}) == 1
        return title if alone else f"{title} ({', '.join(line.over)})"

    def cell(self, name: str, line: ComparisonLine, box: str) -> ResultRow | None:
        """Of one report, by threat model; "undefended" is the classifier's own white box."""
        report = self.reports[name]
        defense, box = ("none", "white_box") if box == "undefended" else (report.defense, box)
        row = report.row(defense, line.attack, "none" if line.attack == "none" else box)
        found = row and (row.epsilon, _over(report, row)) == (line.epsilon, line.over)
        return row if found else None

    def table(self) -> list[list[str]]:
        """Header and one line an attack: undefended, then grey and white box of each defence."""
        columns = [
            (name, box) for name, report in self.reports.items() for box in report.threat_models()
        ]
        titles = [f"{name}, {THREAT_MODEL_TITLES[box]}" for name, box in columns]
        lines = [["attack", "undefended", *titles]]
        for line in self.lines():
            bare = (self.cell(name, line, "undefended") for name in self.reports)
            lines.append([self.title(line), format_accuracy(next((row for row in bare if row), None))])
            lines[-1] += [format_accuracy(self.cell(name, line, box)) for name, box in columns]
        return lines

    def to_markdown(self) -> str:
        """The table, the figure and what each report says of itself."""
        first = next(iter(self.reports.values())).rows[0]
        failures = [
            line
            for name, report in self.reports.items()
            for line in failed_check_lines(report, f"{name}: ")
        ]
        notes = dict.fromkeys(note for report in self.reports.values() for note in report.notes)
        return "\n".join(
            [
                f"# {len(self.reports)} defences before {first.classifier} on {first.dataset}",
                "",
                *failures,
                *markdown_table(self.table()),
                "",
                "Accuracy on test images with its 95 % Wilson interval and the number of images. *Grey box*: the",
                "attack sees the classifier alone. *White box*: it sees purifier and classifier.",
                "",
                "![Comparison](comparison.png)",
                "",
                *(f"- {name}: {report.summary}" for name, report in self.reports.items()),
                *(f"- {note}" for note in notes),
                "",
            ]
        )

    def save(self, directory: Path) -> None:
        """Writes `comparison.md|html|tex|csv|png|svg`."""
        directory.mkdir(parents=True, exist_ok=True)
        self._save_figure(directory / "comparison.png")
        write_text_file(directory / "comparison.md", self.to_markdown())
        write_text_file(directory / "comparison.html", html_page(self.to_markdown(), directory))
        caption = "Grey box and white box, 95 % Wilson intervals."
        write_text_file(directory / "comparison.tex", "\n".join(latex_table(self.table(), caption)))
        first, *others = (report.to_csv() for report in self.reports.values())
        rows = [line for text in others for line in text.splitlines()[1:]]
        write_text_file(directory / "comparison.csv", "\n".join([*first.splitlines(), *rows, ""]))

    def _save_figure(self, path: Path) -> None:
        """Accuracy over attacks, a line a defence: grey box beside white box."""
        boxes = [box for box in ("grey_box", "white_box") if self._has(box)]
        lines = self.lines()
        names = ["clean" if line.attack == "none" else line.attack.split(":")[0] for line in lines]
        with matplotlib.rc_context(STYLE):
            size = (max(3.5, 0.45 * len(lines)) * len(boxes), 3.0)
            figure, axes = subplots(1, len(boxes), figsize=size, sharey=True, squeeze=False)
            for axis, box in zip(axes[0], boxes, strict=True):
                self._draw(axis, ("undefended", "undefended", "#000000", "x"), box, lines)
                for number, name in enumerate(self.reports):
                    style = COLORS[number % len(COLORS)], MARKERS[number % len(MARKERS)]
                    self._draw(axis, (name, box, *style), box, lines)
                axis.set_xticks(range(len(lines)), names, rotation=40, ha="right")
                axis.set(title=THREAT_MODEL_TITLES[box], ylim=(-0.02, 1.02))
            axes[0, 0].set_ylabel("accuracy")
            handles, labels = axes[0, 0].get_legend_handles_labels()
            columns = min(3, len(labels))
            figure.legend(handles, labels, loc="outside upper center", ncols=columns)
            rows = -(-len(labels) // columns)
            figure.tight_layout(rect=(0, 0, 1, 1 - 0.07 * rows))
            save_figure(figure, path)

    def _has(self, box: str) -> bool:
        return any(box in report.threat_models() for report in self.reports.values())

    def _draw(
        self,
        axis: Axes,
        style: tuple[str, str, str, str],
        box: str,
        lines: Sequence[ComparisonLine],
    ) -> None:
        name, column, color, marker = style
        places, values = [], []
        for place, line in enumerate(lines):
            owners = self.reports if name == "undefended" else [name]
            rows = [self.cell(owner, line, column) for owner in owners]
            row = next((row for row in rows if row), None)
            if row:
                places.append(place)
                values.append(row.accuracy)
        # A line that its own report doubts must not look like the others.
        doubted = name in self.reports and bool(self.reports[name].failures)
        axis.plot(
            places,
            values,
            color=color,
            marker=marker,
            markersize=4,
            markerfacecolor="white" if doubted else color,
            linestyle="--" if doubted else ":" if name == "undefended" else "-",
            label=f"{name} (failed checks)" if doubted else name,
        )


def compare_runs(runs: Sequence[RunDirectory]) -> Comparison:
    """The comparison of finished runs.

    Raises:
      UserError: a run without a report, and as `Comparison`.
    """
    reports: dict[str, Report] = {}
    for run in runs:
        path = run.path / "report.json"
        require(run.path.is_dir(), f"--compare={run.path}: no such run directory.")
        require(
            path.is_file(),
            f"--compare={run.path}: has no report yet. Make one: bin/evaluate --run={run.path}",
        )
        try:
            report = Report.from_json(path.read_text())
        except (ValueError, KeyError, TypeError) as error:
            raise UserError(f"{path}: damaged, or of another version.") from error
        name = report.defense
        name = name if name not in reports else f"{name} ({run.path})"
        require(name not in reports, f"--compare={run.path}: given more than once.")
        reports[name] = report
    return Comparison(reports)


def _over(report: Report, row: ResultRow) -> tuple[str, ...]:
    """Of a worst case, the attacks that it is over; of another row, none."""
    if row.attack != "worst_case":
        return ()
    column = (row.defense, row.threat_model)
    rows = [each for each in report.rows if (each.defense, each.threat_model) == column]
    bounded = [each for each in rows if each.epsilon is not None]
    return tuple(sorted(each.attack for each in bounded or rows if each.attack != "worst_case"))
