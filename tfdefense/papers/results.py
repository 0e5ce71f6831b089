"""A paper's tables with ours beside: CSV, Markdown, LaTeX, and a picture of the differences."""

import csv
import dataclasses
import io
import math
from collections.abc import Sequence
from pathlib import Path

import matplotlib
import numpy as np

from tfdefense.papers.measurements import Cell, Outcome
from tfdefense.papers.paper import Figure, Paper
from tfdefense.papers.store import Store
from tfdefense.training.run_directory import write_text
from tfdefense.utils.figures import STYLE, save_figure, subplots
from tfdefense.utils.tables import latex_table, markdown_table

_OURS = ("ours_percent", "ci_low", "ci_high", "n", "white_box_percent", "white_box_n")
_FAR = 30.0  # Percentage points at which the colours of the picture end.


@dataclasses.dataclass(frozen=True)
class Line:
    """A figure of the paper, and ours; None where it was not measured."""

    figure: Figure
    outcome: Outcome | None

    @property
    def difference(self) -> float:
        """Ours less the paper's, in percentage points; NaN where there is none."""
        if self.outcome is None:
            return math.nan
        return self.outcome.ours.percent - self.figure.accuracy_percent


def lines_of(cells: Sequence[tuple[Figure, Cell]], store: Store) -> list[Line]:
    """What is measured of some figures so far."""
    return [Line(figure, cell.outcome(store)) for figure, cell in cells]


def save_table(
    paper: Paper, table: str, lines: Sequence[Line], directory: Path, about: str
) -> None:
    """Writes `<table>.csv`, `.md`, `.tex`, `.png` and `.svg`.

    Args:
      paper, table: whose.
      lines: of its figures.
      directory: where to.
      about: how they were made, in a line.
    """
    directory.mkdir(parents=True, exist_ok=True)
    write_text(directory / f"{table}.csv", to_csv(lines))
    title = f"{paper.title} ({paper.year}), table {table}: {paper.tables[table]}"
    text = [f"# {title}", "", summary(lines), "", *markdown_table(_cells(lines)), "", about, ""]
    write_text(directory / f"{table}.md", "\n".join(text))
    write_text(directory / f"{table}.tex", "\n".join(latex_table(_cells(lines), title)) + "\n")
    if any(line.outcome for line in lines):
        _save_heat_map(lines, f"Table {table}", directory / f"{table}.png")


def to_csv(lines: Sequence[Line]) -> str:
    """The columns of the paper's figures, and ours."""
    text = io.StringIO()
    names = [field.name for field in dataclasses.fields(Figure)]
    writer = csv.DictWriter(text, [*names, *_OURS], lineterminator="\n")
    writer.writeheader()
    for line in lines:
        row = dataclasses.asdict(line.figure)
        if (outcome := line.outcome) is not None and outcome.ours.n:
            low, high = outcome.ours.interval
            values = [outcome.ours.percent, low, high]
            row |= dict(zip(_OURS[:3], (f"{value:.2f}" for value in values), strict=True))
            row["n"] = outcome.ours.n
            if outcome.white_box is not None:
                row["white_box_percent"] = f"{outcome.white_box.percent:.2f}"
                row["white_box_n"] = outcome.white_box.n
        writer.writerow(row)
    return text.getvalue()


@dataclasses.dataclass(frozen=True)
class Means:
    """Of the figures that are measured, in percent.

    Attributes:
      measured, figures: how many are, of how many.
      paper, ours: over those that are measured.
      white_box: over those of them that have one; None where none has.
    """

    measured: int
    figures: int
    paper: float
    ours: float
    white_box: float | None

    @classmethod
    def of(cls, lines: Sequence[Line]) -> "Means | None":
        """None where nothing is measured."""
        measured = [line for line in lines if not math.isnan(line.difference)]
        if not measured:
            return None
        knowing = [line.outcome.white_box.percent for line in measured if line.outcome.white_box]
        return cls(
            len(measured),
            len(lines),
            float(np.mean([line.figure.accuracy_percent for line in measured])),
            float(np.mean([line.outcome.ours.percent for line in measured])),
            float(np.mean(knowing)) if knowing else None,
        )


def summary(lines: Sequence[Line]) -> str:
    """How many are measured, and the means of both."""
    means = Means.of(lines)
    if means is None:
        return f"None of {len(lines)} figures measured."
    white_box = f"; white box {means.white_box:.2f} %" if means.white_box is not None else ""
    return (
        f"{means.measured} of {means.figures} figures measured. Mean of the paper's {means.paper:.2f} %, of ours"
        f" {means.ours:.2f} %{white_box}."
    )


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


def cells_of(line: Line) -> list[str]:
    """A line of a table, under `COLUMNS`."""
    return [
        line.figure.dataset,
        line.figure.attacked_classifier,
        line.figure.defense,
        line.figure.trained_with or "-",
        line.figure.attack,
        f"{line.figure.accuracy_percent:.2f}",
        *_ours(line),
    ]


def _cells(lines: Sequence[Line]) -> list[list[str]]:
    return [list(COLUMNS), *map(cells_of, lines)]


def _ours(line: Line) -> list[str]:
    if line.outcome is None:
        return ["-", "-", "-"]
    ours, knowing = line.outcome.ours, line.outcome.white_box
    if ours.n == 0:
        return ["no image fooled it", "-", "-"]
    low, high = ours.interval
    return [
        f"{ours.percent:.2f} [{low:.1f}, {high:.1f}] n={ours.n:,}",
        f"{line.difference:+.2f}",
        f"{knowing.percent:.1f} n={knowing.n:,}" if knowing else "-",
    ]


def _save_heat_map(lines: Sequence[Line], title: str, path: Path) -> None:
    attacks = list(dict.fromkeys(line.figure.attack for line in lines))
    rows: dict[str, dict[str, float]] = {}
    for line in lines:
        figure = line.figure
        parts = [
            figure.attacked_classifier,
            figure.defense if figure.defense != "none" else "undefended",
        ]
        name = ", ".join(parts) + (
            f" trained with {figure.trained_with}" if figure.trained_with else ""
        )
        if len({each.figure.dataset for each in lines}) > 1:
            name = f"{figure.dataset}: {name}"
        rows.setdefault(name, {})[figure.attack] = line.difference
    values = np.array([[row.get(attack, math.nan) for attack in attacks] for row in rows.values()])
    with matplotlib.rc_context(STYLE):
        size = 2.6 + 0.62 * len(attacks), 0.9 + 0.24 * len(rows)
        figure, axis = subplots(1, 1, size, layout="constrained")
        picture = axis.imshow(values, cmap="PuOr", vmin=-_FAR, vmax=_FAR, aspect="auto")
        axis.set_xticks(range(len(attacks)), attacks)
        axis.set_yticks(range(len(rows)), list(rows))
        axis.tick_params(length=0)
        for place, value in np.ndenumerate(values):
            if not math.isnan(value):
                color = "white" if abs(value) > 0.75 * _FAR else "black"
                axis.text(
                    place[1], place[0], f"{value:+.1f}", ha="center", va="center", color=color
                )
        axis.set_title(f"{title}: ours less the paper's, percentage points")
        figure.colorbar(picture, ax=axis, extend="both", fraction=0.04, pad=0.02)
        save_figure(figure, path)
