"""Scatter of our accuracies over the papers', drawn from the JSON files of results folders."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from tfdefense.errors import UserError
from tfdefense.papers.charts import (
    MeasuredFigure,
    defense_label,
    load_measured_figures,
    percent_of,
    sizes_text,
)
from tfdefense.papers.paper import load_paper, paper_names
from tfdefense.papers.results_folder import SCHEMA, has_marker, read_marker
from tfdefense.utils.figures import COLORS, MARKERS, figure_style, save_figure, subplots
from tfdefense.utils.progress import print_line

if TYPE_CHECKING:
    from matplotlib.axes import Axes

# More colours of Paul Tol, for the ten defences of both papers.
_COLORS = (*COLORS, "#882255", "#332288", "#999999")
_BAND_POINTS = 3.0  # Half the width of the band along the diagonal, in percentage points.
_ZOOM_FROM = 70  # Lower limit of the second panel, in percent.


def save_scatter(output: Path, budget: str) -> bool:
    """Draw our accuracies over the papers' as `<output>/scatter.png` and `.svg`.

    All papers are drawn that have results with this budget in `output`. A damaged file is reported
    and left out.

    Returns:
      False if no figure is measured.
    """
    papers = [name for name in paper_names() if _has_results(output / name, budget)]
    figures = [figure for name in papers for figure in _measured_figures(output / name)]
    if not figures:
        return False
    total = sum(len(load_paper(name).figures) for name in papers)
    sizes = sizes_text(figure.ours for figure in figures)
    with figure_style():
        canvas, axes = subplots(1, 2, (7.9, 3.4), layout="constrained")
        for axis, low in zip(axes, (0, _ZOOM_FROM), strict=True):
            _draw_scatter(axis, figures)
            margin = 0.02 * (100 - low)
            limits = low - margin, 100 + margin
            axis.set(xlim=limits, ylim=limits, aspect="equal", xlabel="the paper's accuracy, %")
        axes[0].set_ylabel("our accuracy in grey box, %")
        axes[0].set_title(f"{len(figures)} of {total} figures, {sizes}")
        axes[1].set_title(f"above {_ZOOM_FROM} %")
        title = "filled: MNIST, hollow: CIFAR-10"
        axes[1].legend(loc="center left", bbox_to_anchor=(1.02, 0.5), title=title, fontsize=7)
        save_figure(canvas, output / "scatter.png")
    return True


def _has_results(directory: Path, budget: str) -> bool:
    try:
        return has_marker(directory) and read_marker(directory) == (SCHEMA, budget)
    except UserError:
        print_line(f"{directory}: its marker is damaged, so it is not in the scatter.")
        return False


def _measured_figures(directory: Path) -> list[MeasuredFigure]:
    found: list[MeasuredFigure] = []
    for table in load_paper(directory.name).tables:
        path = directory / f"{table}.json"
        if not path.is_file():
            continue
        try:
            found += load_measured_figures(path)
        except UserError as error:
            print_line(f"{error} It is not in the scatter.")
    return [figure for figure in found if figure.ours is not None]


def _draw_scatter(axis: "Axes", figures: Sequence[MeasuredFigure]) -> None:
    axis.fill_between(
        [0, 100],
        [-_BAND_POINTS, 100 - _BAND_POINTS],
        [_BAND_POINTS, 100 + _BAND_POINTS],
        color="0.9",
        linewidth=0,
        label=f"within {_BAND_POINTS:g} points",
    )
    axis.plot([0, 100], [0, 100], color="0.5", linewidth=0.8)
    defenses = dict.fromkeys(defense_label(each.figure) for each in figures)
    for index, defense in enumerate(defenses):
        color = _COLORS[index % len(_COLORS)]
        marker = MARKERS[index % len(MARKERS)]
        of_defense = [each for each in figures if defense_label(each.figure) == defense]
        # Without points, so that the legend has a filled marker even if all points are hollow.
        label = f"{defense}, {len(of_defense)} figure{'s' if len(of_defense) > 1 else ''}"
        axis.scatter([], [], s=16, color=color, marker=marker, label=label)
        for is_mnist, face in ((True, color), (False, "none")):
            drawn = [each for each in of_defense if (each.figure.dataset == "mnist") == is_mnist]
            axis.scatter(
                [each.figure.accuracy_percent for each in drawn],
                [percent_of(each.ours) for each in drawn],
                s=16,
                facecolor=face,
                edgecolor=color,
                marker=marker,
                linewidth=0.8,
                alpha=0.8,
                zorder=3,
            )
