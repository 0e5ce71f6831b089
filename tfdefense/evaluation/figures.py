"""Figures as files, all in one style."""

from pathlib import Path

import matplotlib

matplotlib.use("Agg")  # Without a screen.
import matplotlib.pyplot as plt

from tfdefense.whole import whole

# Okabe and Ito's colours, told apart by colour-blind readers too; markers tell the rest.
COLORS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#000000")
MARKERS = "osD^vPX"
STYLE = {
    "font.size": 8,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "legend.frameon": False,
    "svg.fonttype": "none",
}
COLUMN = 3.5  # Inches: a column of most journals.


def save_figure(figure: plt.Figure, path: Path) -> None:
    """Writes a PNG and, beside it, an SVG, each whole or not at all; and lets go of the figure."""
    for suffix in (".png", ".svg"):
        with whole(path.with_suffix(suffix)) as partial:
            figure.savefig(partial, dpi=200 if figure.get_figwidth() < 8 else 110)
    plt.close(figure)
