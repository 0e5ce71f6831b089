"""The figures of one report: accuracy over epsilon, and norms before and after purifying."""

from pathlib import Path

import matplotlib
import numpy as np

from tfdefense.evaluation.report.report import Report
from tfdefense.evaluation.threat_models import THREAT_MODEL_TITLES
from tfdefense.utils.figures import COLORS, COLUMN, MARKERS, STYLE, save_figure, subplots


def save_curve(report: Report, path: Path) -> None:
    """Accuracy over epsilon: undefended, grey box and white box."""
    curve = report.curve
    with matplotlib.rc_context(STYLE):
        figure, axis = subplots(1, 1, figsize=(COLUMN, 2.4))
        for name, color, marker in zip(
            ("undefended", "grey_box", "white_box"), ("#000000", *COLORS), MARKERS, strict=False
        ):
            label = THREAT_MODEL_TITLES.get(name, name)
            axis.plot(
                curve["epsilon"], curve[name], color=color, marker=marker, markersize=3, label=label
            )
        chance = 1 / (1 + int(report.labels.max()))
        axis.axhline(chance, color="0.6", linewidth=0.8, linestyle=":")
        axis.annotate("chance", (1, chance), ha="right", va="bottom", color="0.4")
        axis.set(xlabel="epsilon", ylabel=f"accuracy (n = {curve['n']:,})", ylim=(-0.02, 1.02))
        axis.legend()
        figure.tight_layout()
        save_figure(figure, path)


def save_perturbations(report: Report, path: Path) -> None:
    """Mean L1 norm of what attacks add and of what is left after purifying (Yu et al. 2020, figures 7, 8)."""
    boxes = [box for box in report.threat_models() if box in ("grey_box", "white_box")]
    with matplotlib.rc_context(STYLE):
        figure, axes = subplots(
            1, len(boxes), figsize=(COLUMN * len(boxes), 2.6), sharey=True, squeeze=False
        )
        for axis, box in zip(axes[0], boxes, strict=True):
            rows = [
                row
                for row in report.rows
                if (row.defense, row.threat_model) == (report.defenses[-1], box)
                and row.l1 is not None
            ]
            places = np.arange(len(rows))
            axis.bar(places - 0.2, [row.l1 for row in rows], 0.4, color=COLORS[1], label="added")
            axis.bar(
                places + 0.2, [row.left_l1 for row in rows], 0.4, color=COLORS[0], label="left"
            )
            names = [row.attack.split(":")[0] for row in rows]
            axis.set_xticks(places, names, rotation=30, ha="right")
            axis.set_title(f"{THREAT_MODEL_TITLES[box]} (n = {rows[0].n:,})", fontsize=8)
        axes[0, 0].set_ylabel("mean L1 norm")
        axes[0, 0].set_ylim(0, 1.25 * axes[0, 0].get_ylim()[1])  # Room for the legend.
        axes[0, 0].legend(ncols=2, loc="upper left")
        figure.tight_layout()
        save_figure(figure, path)
