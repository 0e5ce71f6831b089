"""Figures as PNG and SVG files in one style."""

import contextlib
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from tfdefense.utils.atomic_write import atomic_write
from tfdefense.utils.visible_text import visible_text

if TYPE_CHECKING:
    from matplotlib.figure import Figure

# Colours of Okabe and Ito, which colour-blind readers can tell apart. Markers differ too.
COLORS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#000000")
MARKERS = "osD^vPX"
_STYLE = {
    "font.size": 8,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "legend.frameon": False,
    "svg.fonttype": "none",
    "text.parse_math": False,  # A name with dollar signs is not a formula.
    "svg.hashsalt": "tfdefense",  # Without a fixed salt, each file gets random element names.
}
COLUMN = 3.5  # Width of a journal column in inches.


def figure_style() -> contextlib.AbstractContextManager[None]:
    """Return a context in which figures are drawn in the one style."""
    import matplotlib  # Here and below: it takes a second, and few commands draw.

    return matplotlib.rc_context(_STYLE)


def subplots(
    rows: int,
    columns: int,
    figsize: tuple[float, float],
    layout: Literal["constrained", "compressed", "tight"] | None = None,
    **options: Any,
) -> tuple["Figure", Any]:
    """Return a figure and its axes, as `pyplot.subplots` does, without changing the state of pyplot.

    Args:
      rows, columns: number of axes.
      figsize: width and height in inches.
      layout: layout engine of matplotlib.
      **options: further arguments of `Figure.subplots`.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize, layout=layout)
    return figure, figure.subplots(rows, columns, **options)


def tight_layout(figure: "Figure", top: float | None = None) -> None:
    """Place the axes so that texts do not overlap, in the part of the figure below `top`, in [0, 1]."""
    _show_hidden_characters(figure)
    figure.tight_layout(rect=None if top is None else (0, 0, 1, top))


def _show_hidden_characters(figure: "Figure") -> None:
    """Replace hidden characters in all texts: matplotlib neither measures nor draws some of them."""
    from matplotlib.text import Text

    for text in figure.findobj(Text):
        shown = visible_text(text.get_text())
        if shown != text.get_text():
            text.set_text(shown)


def save_figure(figure: "Figure", path: Path) -> None:
    """Write a figure as a PNG file and an SVG file with the same stem.

    Each file is written completely or not at all. Equal figures give equal bytes.
    """
    _show_hidden_characters(figure)
    dpi = 200 if figure.get_figwidth() < 8 else 110
    for suffix, metadata in ((".png", None), (".svg", {"Date": None})):
        with atomic_write(path.with_suffix(suffix)) as partial, warnings.catch_warnings():
            # A name can have characters that the font lacks.
            warnings.filterwarnings("ignore", message="Glyph")
            figure.savefig(partial, dpi=dpi, metadata=metadata)
