"""Figures as files, all in one style."""

from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

from tfdefense.utils.atomic_write import atomic_write

# Okabe and Ito's colours, told apart by colour-blind readers too; markers tell the rest.
COLORS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#000000")
MARKERS = "osD^vPX"
STYLE = {
    "font.size": 8,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "legend.frameon": False,
    "svg.fonttype": "none",
    "svg.hashsalt": "tfdefense",  # Names within an SVG are drawn at random otherwise: the same picture would differ.
}
COLUMN = 3.5  # Inches: a column of most journals.


def subplots(
    rows: int,
    columns: int,
    figsize: tuple[float, float],
    layout: str | None = None,
    **about: Any,
) -> tuple[Figure, Any]:
    """As pyplot's: a figure and its axes; but no window, and nothing of the caller's own figures is touched."""
    figure = Figure(figsize, layout=layout)
    return figure, figure.subplots(rows, columns, **about)


def save_figure(figure: Figure, path: Path) -> None:
    """Writes a PNG and, beside it, an SVG, each whole or not at all; the same bytes for the same picture."""
    dpi = 200 if figure.get_figwidth() < 8 else 110
    for suffix, metadata in ((".png", None), (".svg", {"Date": None})):
        with atomic_write(path.with_suffix(suffix)) as partial:
            figure.savefig(partial, dpi=dpi, metadata=metadata)
