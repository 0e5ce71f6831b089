"""Tables of printed and measured accuracies: CSV, Markdown, LaTeX and a heat map."""

import csv
import dataclasses
import io
import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from tfdefense.papers.measurements import CellMeasurement, PaperCell
from tfdefense.papers.paper import BENIGN, NONE, Paper, PaperFigure
from tfdefense.papers.store import TargetStore
from tfdefense.utils.atomic_write import write_text_file
from tfdefense.utils.figures import figure_style, save_figure, subplots
from tfdefense.utils.tables import latex_table, markdown_table

_CSV_COLUMNS = ("ours_percent", "ci_low", "ci_high", "n", "white_box_percent", "white_box_n")
_COLOR_LIMIT = 30.0  # Percentage points at which the heat map's colours saturate.

COLUMNS = (
    "dataset",
    "classifier",
    "defence",
    "trained with",
    "attack",
    "paper",
    "ours",
    "difference",
    "white box",
)


@dataclasses.dataclass(frozen=True)
class FigureComparison:
    """A printed figure and its measurement, which is None if there is none yet."""

    figure: PaperFigure
    measurement: CellMeasurement | None

    @property
    def difference(self) -> float:
        """Our accuracy minus the paper's, in percentage points; NaN if it was not measured."""
        if self.measurement is None:
            return math.nan
        return self.measurement.ours.percent - self.figure.accuracy_percent

    @property
    def is_undefended_attack(self) -> bool:
        """True for a classifier alone under attack, whose accuracy a stronger attack lowers."""
        return self.figure.defense == NONE and self.figure.attack != BENIGN


def compare_figures(
    cells: Sequence[tuple[PaperFigure, PaperCell]], store: TargetStore
) -> list[FigureComparison]:
    """Return each figure with what is measured so far."""
    return [FigureComparison(figure, cell.measurement(store)) for figure, cell in cells]


@dataclasses.dataclass(frozen=True)
class TableMeans:
    """Mean accuracies of a table, in percent, over the measured figures.

    Attributes:
      measured: number of measured figures.
      figures: number of all figures.
      paper: mean of the printed accuracies.
      ours: mean of our accuracies.
      white_box: mean of the white-box accuracies; None if there are none.
    """

    measured: int
    figures: int
    paper: float
    ours: float
    white_box: float | None

    @classmethod
    def of(cls, comparisons: Sequence[FigureComparison]) -> "TableMeans | None":
        """Return the means; None if nothing is measured."""
        measured = [
            (each.figure, each.measurement)
            for each in comparisons
            if each.measurement is not None and not math.isnan(each.difference)
        ]
        if not measured:
            return None
        white_box = [
            measurement.white_box.percent for _, measurement in measured if measurement.white_box
        ]
        return cls(
            len(measured),
            len(comparisons),
            float(np.mean([figure.accuracy_percent for figure, _ in measured])),
            float(np.mean([measurement.ours.percent for _, measurement in measured])),
            float(np.mean(white_box)) if white_box else None,
        )


def summary(comparisons: Sequence[FigureComparison]) -> str:
    """Return how many figures are measured, and both means."""
    means = TableMeans.of(comparisons)
    if means is None:
        return f"None of {len(comparisons)} figures measured."
    white_box = f", white box {means.white_box:.2f} %" if means.white_box is not None else ""
    return (
        f"{means.measured} of {means.figures} figures measured. Mean accuracy: paper {means.paper:.2f} %, ours"
        f" {means.ours:.2f} %{white_box}."
    )


def save_table(
    paper: Paper, table: str, comparisons: Sequence[FigureComparison], directory: Path, about: str
) -> None:
    """Write `<table>.csv`, `.md`, `.tex`, `.png` and `.svg`.

    Args:
      paper: the paper.
      table: name of the table.
      comparisons: figures of the table.
      directory: directory to write to.
      about: one line on how the figures were measured.
    """
    directory.mkdir(parents=True, exist_ok=True)
    write_text_file(directory / f"{table}.csv", to_csv(comparisons))
    title = f"{paper.title} ({paper.year}), table {table}: {paper.tables[table]}"
    rows = [list(COLUMNS), *map(comparison_row, comparisons)]
    text = [f"# {title}", "", summary(comparisons), "", *markdown_table(rows), "", about, ""]
    write_text_file(directory / f"{table}.md", "\n".join(text))
    write_text_file(directory / f"{table}.tex", "\n".join(latex_table(rows, title)) + "\n")
    if any(each.measurement for each in comparisons):
        _save_heat_map(comparisons, f"Table {table}", directory / f"{table}.png")


def to_csv(comparisons: Sequence[FigureComparison]) -> str:
    """Return the columns of the paper's CSV file, followed by ours."""
    text = io.StringIO()
    names = [field.name for field in dataclasses.fields(PaperFigure)]
    writer = csv.DictWriter(text, [*names, *_CSV_COLUMNS], lineterminator="\n")
    writer.writeheader()
    for each in comparisons:
        row = dataclasses.asdict(each.figure)
        if (measurement := each.measurement) is not None and measurement.ours.n:
            low, high = measurement.ours.interval
            row["ours_percent"] = f"{measurement.ours.percent:.2f}"
            row["ci_low"], row["ci_high"] = f"{low:.2f}", f"{high:.2f}"
            row["n"] = measurement.ours.n
            if measurement.white_box is not None:
                row["white_box_percent"] = f"{measurement.white_box.percent:.2f}"
                row["white_box_n"] = measurement.white_box.n
        writer.writerow(row)
    return text.getvalue()


def comparison_row(comparison: FigureComparison) -> list[str]:
    """Return one row of a table, in the order of `COLUMNS`."""
    figure = comparison.figure
    return [
        figure.dataset,
        figure.attacked_classifier,
        figure.defense,
        figure.trained_with or "-",
        figure.attack,
        f"{figure.accuracy_percent:.2f}",
        *_measured_columns(comparison),
    ]


def _measured_columns(comparison: FigureComparison) -> list[str]:
    if comparison.measurement is None:
        return ["-", "-", "-"]
    ours, white_box = comparison.measurement.ours, comparison.measurement.white_box
    if ours.n == 0:
        return ["n=0: no image fooled the classifier", "-", "-"]
    low, high = ours.interval
    return [
        f"{ours.percent:.2f} [{low:.1f}, {high:.1f}] n={ours.n:,}",
        f"{comparison.difference:+.2f}",
        f"{white_box.percent:.1f} n={white_box.n:,}" if white_box else "-",
    ]


def _save_heat_map(comparisons: Sequence[FigureComparison], title: str, path: Path) -> None:
    attacks = list(dict.fromkeys(each.figure.attack for each in comparisons))
    has_one_dataset = len({each.figure.dataset for each in comparisons}) == 1
    rows: dict[str, dict[str, float]] = {}
    for each in comparisons:
        name = _row_name(each.figure)
        if not has_one_dataset:
            name = f"{each.figure.dataset}: {name}"
        rows.setdefault(name, {})[each.figure.attack] = each.difference
    values = np.array([[row.get(attack, math.nan) for attack in attacks] for row in rows.values()])
    with figure_style():
        size = 2.6 + 0.62 * len(attacks), 0.9 + 0.24 * len(rows)
        canvas, axis = subplots(1, 1, size, layout="constrained")
        picture = axis.imshow(
            values, cmap="PuOr", vmin=-_COLOR_LIMIT, vmax=_COLOR_LIMIT, aspect="auto"
        )
        axis.set_xticks(range(len(attacks)), attacks)
        axis.set_yticks(range(len(rows)), list(rows))
        axis.tick_params(length=0)
        for (row, column), value in np.ndenumerate(values):
            if not math.isnan(value):
                color = "white" if abs(value) > 0.75 * _COLOR_LIMIT else "black"
                axis.text(column, row, f"{value:+.1f}", ha="center", va="center", color=color)
        axis.set_title(f"{title}: ours minus the paper's, percentage points")
        canvas.colorbar(picture, ax=axis, extend="both", fraction=0.04, pad=0.02)
        save_figure(canvas, path)


def _row_name(figure: PaperFigure) -> str:
    defense = "undefended" if figure.defense == NONE else figure.defense
    trained_with = f" trained with {figure.trained_with}" if figure.trained_with else ""
    return f"{figure.attacked_classifier}, {defense}{trained_with}"
