"""Figures as files."""

from pathlib import Path

import matplotlib

matplotlib.use("Agg")  # Without a screen.
import matplotlib.pyplot as plt


def save_figure(figure: plt.Figure, path: Path) -> None:
    """Writes a PNG whole or not at all, and lets go of the figure."""
    partial = path.with_suffix(".partial.png")
    figure.savefig(partial, dpi=110)
    plt.close(figure)
    partial.replace(path)
