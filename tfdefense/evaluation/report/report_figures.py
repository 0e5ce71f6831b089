"""Figures of one report: accuracy over epsilon, perturbation norms, ROC curves of the detector."""

from pathlib import Path

import numpy as np
from sklearn.metrics import roc_curve

from tfdefense.evaluation.detection import detector_scores, labelled_scores
from tfdefense.evaluation.report.report import Report
from tfdefense.evaluation.threat_models import THREAT_MODEL_TITLES
from tfdefense.utils.figures import (
    COLORS,
    COLUMN,
    MARKERS,
    figure_style,
    save_figure,
    subplots,
    tight_layout,
)
from tfdefense.utils.visible_text import visible_text

_MIN_RATE = 1e-4  # Left end of the logarithmic axis of the ROC curves.


def save_epsilon_figure(report: Report, path: Path) -> None:
    """Draw accuracy over epsilon: undefended, grey box and white box."""
    curve = report.curve
    with figure_style():
        figure, axis = subplots(1, 1, figsize=(COLUMN, 2.4))
        for name, color, marker in zip(
            ("undefended", "grey_box", "white_box"), ("#000000", *COLORS), MARKERS, strict=False
        ):
            label = THREAT_MODEL_TITLES.get(name, name)
            axis.plot(
                curve["epsilon"], curve[name], color=color, marker=marker, markersize=3, label=label
            )
        chance = 1 / curve["classes"]
        axis.axhline(chance, color="0.6", linewidth=0.8, linestyle=":")
        axis.annotate("chance", (1, chance), ha="right", va="bottom", color="0.4")
        axis.set(xlabel="epsilon", ylabel=f"accuracy (n = {curve['n']:,})", ylim=(-0.02, 1.02))
        axis.legend()
        tight_layout(figure)
        save_figure(figure, path)


def save_perturbation_figure(report: Report, path: Path) -> None:
    """Draw mean L1 norms of the perturbation before and after purification (Yu et al. 2020, figures 7 and 8)."""
    threat_models = [name for name in report.threat_models() if name in ("grey_box", "white_box")]
    pipeline = report.pipeline_names[-1]
    with figure_style():
        size = (COLUMN * len(threat_models), 2.6)
        figure, axes = subplots(1, len(threat_models), figsize=size, sharey=True, squeeze=False)
        for axis, threat_model in zip(axes[0], threat_models, strict=True):
            rows = [
                row
                for row in report.rows
                if (row.defense, row.threat_model) == (pipeline, threat_model)
                and row.l1 is not None
            ]
            places = np.arange(len(rows))
            before, after = [row.l1 for row in rows], [row.left_l1 for row in rows]
            axis.bar(places - 0.2, before, 0.4, color=COLORS[1], label="before purification")
            axis.bar(places + 0.2, after, 0.4, color=COLORS[0], label="after purification")
            names = [visible_text(row.attack.split(":")[0]) for row in rows]
            axis.set_xticks(places, names, rotation=30, ha="right")
            counts = sorted({row.n for row in rows})
            shown = " to ".join(f"{n:,}" for n in dict.fromkeys([counts[0], counts[-1]]))
            axis.set_title(f"{THREAT_MODEL_TITLES[threat_model]} (n = {shown})", fontsize=8)
        axes[0, 0].set_ylabel("mean L1 norm")
        axes[0, 0].set_ylim(0, 1.25 * axes[0, 0].get_ylim()[1])  # Room for the legend.
        axes[0, 0].legend(ncols=2, loc="upper left", fontsize=7)
        tight_layout(figure)
        save_figure(figure, path)


def save_roc_figure(report: Report, path: Path) -> None:
    """Draw the share of refused attacked images over the share of refused clean images, per attack."""
    (_, clean), *attacked = detector_scores(report.per_image).items()
    figure, axes = subplots(1, 2, figsize=(9, 3.8), sharey=True)
    for axis, threat_model in zip(axes, ("grey_box", "white_box"), strict=True):
        for key, excess in attacked:
            if key.threat_model == threat_model:
                rates, hits, _ = roc_curve(*labelled_scores(clean, excess))
                axis.plot(np.maximum(rates, _MIN_RATE), hits, label=key.attack)
        used = max(float(np.mean(clean > 0)), _MIN_RATE)
        axis.axvline(used, color="0.6", linewidth=1, linestyle=":")
        title = THREAT_MODEL_TITLES[threat_model]
        axis.set(xscale="log", xlim=(_MIN_RATE, 1), ylim=(0, 1.02), title=title)
        axis.set_xlabel("refused clean images (dotted line: with the thresholds in use)")
        axis.legend(loc="lower right", fontsize=8, frameon=False)
    axes[0].set_ylabel("refused attacked images")
    tight_layout(figure)
    save_figure(figure, path)
