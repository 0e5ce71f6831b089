"""The figure of a comparison: accuracy under each attack, a line per defence."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from tfdefense.evaluation.result import ResultRow
from tfdefense.evaluation.threat_models import THREAT_MODEL_TITLES, WHITE_BOXES
from tfdefense.utils.figures import (
    COLORS,
    MARKERS,
    figure_style,
    save_figure,
    subplots,
    tight_layout,
)
from tfdefense.utils.visible_text import visible_text

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from tfdefense.evaluation.report.comparison import Comparison


class _LineStyle(NamedTuple):
    label: str
    color: str
    marker: str
    linestyle: str
    marker_fill: str


def save_comparison_figure(comparison: "Comparison", path: Path) -> None:
    """Draw grey box and white boxes side by side, and write a PNG and an SVG file."""
    lines = comparison.lines()
    names = ["clean" if line.attack == "none" else line.attack.split(":")[0] for line in lines]
    # Here, and not in the figure: matplotlib writes the labels of ticks again when it draws.
    names = [visible_text(name) for name in names]
    threat_models = [
        name
        for name in ("grey_box", *WHITE_BOXES)
        if any(name in report.threat_models() for report in comparison.reports.values())
    ]
    with figure_style():
        size = (max(3.5, 0.45 * len(lines)) * len(threat_models), 3.0)
        figure, axes = subplots(1, len(threat_models), figsize=size, sharey=True, squeeze=False)
        for axis, threat_model in zip(axes[0], threat_models, strict=True):
            _draw(axis, comparison, threat_model)
            axis.set_xticks(range(len(lines)), names, rotation=40, ha="right")
            axis.set(title=THREAT_MODEL_TITLES[threat_model], ylim=(-0.02, 1.02))
        axes[0, 0].set_ylabel("accuracy")
        handles, labels = axes[0, 0].get_legend_handles_labels()
        columns = min(3, len(labels))
        figure.legend(handles, labels, loc="outside upper center", ncols=columns)
        rows = -(-len(labels) // columns)
        tight_layout(figure, top=1 - 0.07 * rows)
        save_figure(figure, path)


def _draw(axis: "Axes", comparison: "Comparison", threat_model: str) -> None:
    lines = comparison.lines()
    undefended = [comparison.undefended_row(line) for line in lines]
    _plot(axis, undefended, _LineStyle("undefended", "#000000", "x", ":", "#000000"))
    for number, (name, report) in enumerate(comparison.reports.items()):
        color, marker = COLORS[number % len(COLORS)], MARKERS[number % len(MARKERS)]
        style = _LineStyle(name, color, marker, "-", color)
        if report.failed_checks:
            # A defence whose checks failed must not look like the others.
            style = _LineStyle(f"{name} (failed checks)", color, marker, "--", "white")
        _plot(axis, [comparison.row(name, line, threat_model) for line in lines], style)


def _plot(axis: "Axes", rows: Sequence[ResultRow | None], style: _LineStyle) -> None:
    points = [(place, row.accuracy) for place, row in enumerate(rows) if row]
    axis.plot(
        [place for place, _ in points],
        [accuracy for _, accuracy in points],
        color=style.color,
        marker=style.marker,
        markersize=4,
        markerfacecolor=style.marker_fill,
        linestyle=style.linestyle,
        label=style.label,
    )
