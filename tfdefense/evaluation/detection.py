"""How well a detector tells attacked images from clean ones."""

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from sklearn.metrics import roc_auc_score, roc_curve

from tfdefense.evaluation.per_image_results import PerImageResults
from tfdefense.utils.figures import save_figure, subplots
from tfdefense.utils.statistics import wilson_interval
from tfdefense.utils.tables import markdown_table, share_cell

REJECTED = -1  # In place of a class.
_LEAST_RATE = 1e-4


@dataclasses.dataclass(frozen=True)
class Detection:
    """What a detector made of the images of one row.

    Attributes:
      attack, threat_model: as in the row; "none" for clean images.
      refused, n: share of the n images that were refused, in [0, 1].
      ci_low, ci_high: its 95 % Wilson interval.
      auc: chance that it is more alarmed by an attacked image than by a clean one; None for clean ones.
    """

    attack: str
    threat_model: str
    refused: float
    n: int
    ci_low: float
    ci_high: float
    auc: float | None


def measure_detection(cells: Mapping[str, PerImageResults]) -> tuple[Detection, ...]:
    """Of "defense/attack/threat_model" -> what was measured; clean images first."""
    found, clean = [], None
    for key, excess in _excesses(cells).items():
        _, attack, threat_model = key.split("/")
        clean = excess if clean is None else clean
        refused = excess > 0
        low, high = wilson_interval(int(refused.sum()), len(refused))
        auc = None if attack == "none" else float(roc_auc_score(*_labelled(clean, excess)))
        found.append(
            Detection(attack, threat_model, float(refused.mean()), len(excess), low, high, auc)
        )
    return tuple(found)


def detector_section(found: Sequence[Detection]) -> list[str]:
    """The lines of a report on a detector, in Markdown; none where there is no detector."""
    if not found:
        return []
    lines = [["attack", "threat model", "refused", "area under ROC"]]
    for each in found:
        share = share_cell(each.refused, each.ci_low, each.ci_high, each.n)
        area = "-" if each.auc is None else f"{each.auc:.3f}"
        lines.append([each.attack, each.threat_model.replace("_", " "), share, area])
    return ["## Its detector", "", *markdown_table(lines), "", "![ROC](roc.png)", ""]


def save_roc_figure(cells: Mapping[str, PerImageResults], path: Path) -> None:
    """Draws, for each attack, how many of its images are refused against how many clean ones.

    Args:
      cells: as in `detections`.
      path: a PNG file to write.
    """
    (_, clean), *attacked = _excesses(cells).items()
    figure, axes = subplots(1, 2, figsize=(9, 3.8), sharey=True)
    titles = {"grey_box": "grey box", "white_box": "white box"}
    for axis, (threat_model, title) in zip(axes, titles.items(), strict=True):
        for key, excess in attacked:
            _, attack, theirs = key.split("/")
            if theirs == threat_model:
                rates, hits, _ = roc_curve(*_labelled(clean, excess))
                axis.plot(np.maximum(rates, _LEAST_RATE), hits, label=attack)
        axis.axvline(max(np.mean(clean > 0), _LEAST_RATE), color="0.6", linewidth=1, linestyle=":")
        axis.set(xscale="log", xlim=(_LEAST_RATE, 1), ylim=(0, 1.02), title=title)
        axis.set_xlabel("clean images refused (dotted: at the thresholds used)")
        axis.legend(loc="lower right", fontsize=8, frameon=False)
    axes[0].set_ylabel("attacked images refused")
    figure.tight_layout()
    save_figure(figure, path)


def _excesses(cells: Mapping[str, PerImageResults]) -> dict[str, np.ndarray]:
    return {key: cell.excess for key, cell in cells.items() if cell.excess is not None}


def _labelled(clean: np.ndarray, attacked: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """0 for clean and 1 for attacked images; and how far past the detector each is."""
    is_attacked = np.concatenate([np.zeros(len(clean)), np.ones(len(attacked))])
    return is_attacked, np.concatenate([clean, attacked])
