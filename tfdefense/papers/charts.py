"""Line charts of a table, drawn from its JSON file: accuracy over attacks, one line per defence.

These are figures 19 to 22 of Yang et al. 2021, with one chart per table.
"""

import dataclasses
import math
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tfdefense.errors import UserError
from tfdefense.papers.measurements import CorrectCount
from tfdefense.papers.paper import NONE, PaperFigure
from tfdefense.utils.figures import COLORS, MARKERS, figure_style, save_figure, subplots
from tfdefense.utils.json_types import typed_items, typed_value
from tfdefense.utils.untrusted_file import read_json_file

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_MIN_ATTACKS = 2  # A line needs two points.


@dataclasses.dataclass(frozen=True)
class MeasuredFigure:
    """A printed figure and what was measured for it.

    Attributes:
      figure: the printed figure.
      ours: our count in grey box; None if it is not measured.
      white_box: our count in white box; None if it is not measured.
    """

    figure: PaperFigure
    ours: CorrectCount | None
    white_box: CorrectCount | None


def load_measured_figures(path: Path) -> list[MeasuredFigure]:
    """Return the figures in a `TABLE.json` of a results folder.

    Raises:
      UserError: the file is missing or damaged.
    """
    try:
        return [_measured_figure(record) for record in typed_value(read_json_file(path), list)]
    except UserError:
        raise
    except (ValueError, KeyError, TypeError) as error:
        raise UserError(f"{path}: damaged. Write it again with bin/reproduce.") from error


def _measured_figure(record: Any) -> MeasuredFigure:
    (figure,) = typed_items([typed_value(record, dict)["figure"]], PaperFigure)
    cell = typed_value(record["cell"], dict | None) or {"ours": None, "white_box": None}
    return MeasuredFigure(figure, _count(cell["ours"]), _count(cell["white_box"]))


def _count(content: Any) -> CorrectCount | None:
    """Return a count; None if there is none, or of no images."""
    counts = typed_items([content], CorrectCount) if content is not None else ()
    return next((count for count in counts if count.n > 0), None)


def save_line_chart(path: Path) -> bool:
    """Draw accuracy over attacks for a `TABLE.json`, as `TABLE-lines.png` and `.svg`.

    Each row has the paper's accuracies, ours in grey box and ours in white box. It is of one
    classifier with a line per defence, or of one dataset with a line per classifier if each
    classifier has only one line. Rows without measured figures are left out.

    Returns:
      False if fewer than two attacks are measured; an older chart is removed then.

    Raises:
      UserError: the file is damaged.
    """
    figures = load_measured_figures(path)
    row_name, line_name = _grouping([each.figure for each in figures])
    rows: dict[str, list[MeasuredFigure]] = {}
    for figure in figures:
        rows.setdefault(row_name(figure.figure), []).append(figure)
    rows = {name: row for name, row in rows.items() if any(figure.ours for figure in row)}
    drawn = [figure for row in rows.values() for figure in row]
    if len({each.figure.attack for each in drawn if each.ours}) < _MIN_ATTACKS:
        for suffix in (".png", ".svg"):
            path.with_name(f"{path.stem}-lines{suffix}").unlink(missing_ok=True)
        return False
    attacks = list(dict.fromkeys(each.figure.attack for each in drawn))
    with figure_style():
        size = 9.0, 0.4 + 2.1 * len(rows)
        canvas, axes = subplots(
            len(rows), 3, size, layout="constrained", squeeze=False, sharex=True, sharey=True
        )
        for axes_row, (name, row) in zip(axes, rows.items(), strict=True):
            lines: dict[str, list[MeasuredFigure]] = {}
            for measured in row:
                lines.setdefault(line_name(measured.figure), []).append(measured)
            _draw_lines(axes_row, lines, attacks)
            axes_row[0].set_ylabel(f"{name}\naccuracy, %")
        axes[0][0].set_title("paper")
        axes[0][1].set_title(f"ours, grey box\n{sizes_text(each.ours for each in drawn)}")
        white_box = sizes_text(each.white_box for each in drawn)
        axes[0][2].set_title(f"ours, white box\n{white_box}")
        save_figure(canvas, path.with_name(f"{path.stem}-lines.png"))
    return True


_VALUES: tuple[Callable[[MeasuredFigure], float], ...] = (
    lambda each: each.figure.accuracy_percent,
    lambda each: percent_of(each.ours),
    lambda each: percent_of(each.white_box),
)


def _draw_lines(
    axes: Sequence["Axes"], lines: dict[str, list[MeasuredFigure]], attacks: Sequence[str]
) -> None:
    for axis, value in zip(axes, _VALUES, strict=True):
        for index, (name, figures) in enumerate(lines.items()):
            by_attack = {each.figure.attack: value(each) for each in figures}
            axis.plot(
                range(len(attacks)),
                [by_attack.get(attack, math.nan) for attack in attacks],
                color=COLORS[index % len(COLORS)],
                marker=MARKERS[index % len(MARKERS)],
                markersize=3.5,
                linewidth=1.0,
                label=name,
                clip_on=False,
            )
        axis.set_xticks(range(len(attacks)), attacks, fontsize=7)
        axis.set_ylim(0, 100)
        axis.grid(axis="y", color="0.9", linewidth=0.6)
    axes[-1].legend(loc="center left", bbox_to_anchor=(1.02, 0.5), fontsize=7)


def _grouping(
    figures: Sequence[PaperFigure],
) -> tuple[Callable[[PaperFigure], str], Callable[[PaperFigure], str]]:
    """Return functions that name the row and the line of a figure."""
    lines = {(each.dataset, each.attacked_classifier, _defense_name(each)) for each in figures}
    if len({line[:2] for line in lines}) < len(lines):
        return _classifier_name, _defense_name
    return (lambda figure: figure.dataset), _single_line_name


def _single_line_name(figure: PaperFigure) -> str:
    """Return the name of the only line of a classifier."""
    if figure.defense == NONE:
        return figure.attacked_classifier
    return f"{figure.attacked_classifier}, {_defense_name(figure)}"


def _classifier_name(figure: PaperFigure) -> str:
    return f"{figure.attacked_classifier}, {figure.dataset}"


def _defense_name(figure: PaperFigure) -> str:
    defense = defense_label(figure)
    return f"{defense} with {figure.trained_with}" if figure.trained_with else defense


def defense_label(figure: PaperFigure) -> str:
    """Return the paper's name of the defence, or "undefended"."""
    return "undefended" if figure.defense == NONE else figure.defense


def percent_of(count: CorrectCount | None) -> float:
    """Return an accuracy in percent; NaN if it is not measured."""
    return count.percent if count else math.nan


def sizes_text(counts: Iterable[CorrectCount | None]) -> str:
    """Return the smallest and the largest number of images of counts, such as "n = 50 to 1,000"."""
    sizes = [count.n for count in counts if count is not None]
    if not sizes:
        return "not measured"
    low, high = f"{min(sizes):,}", f"{max(sizes):,}"
    return f"n = {low}" if low == high else f"n = {low} to {high}"
