"""Of the attacked images that fooled the classifier: how many are right once they are purified."""

import dataclasses
from collections.abc import Mapping, Sequence

import numpy as np

from tfdefense.evaluation.per_image_results import PerImageResults
from tfdefense.utils.statistics import wilson_interval
from tfdefense.utils.tables import markdown_table, share_cell


@dataclasses.dataclass(frozen=True)
class Recovery:
    """One attack, grey box: what Yu et al. 2020 measure ("examples that successfully attacked").

    An attack succeeds on an image that the classifier was right about, and no longer is.

    Attributes:
      attack: as in the rows of the report.
      restored, n: share of the n images that fooled the classifier, in [0, 1]; 0 of none.
      ci_low, ci_high: its 95 % Wilson interval.
      white_box, white_box_n: accuracy under the same attack where it knows the defence, and on how many
        images: no grey-box figure stands without it.
    """

    attack: str
    measure_recovery: float
    n: int
    ci_low: float
    ci_high: float
    white_box: float
    white_box_n: int


def measure_recovery(cells: Mapping[str, PerImageResults], labels: np.ndarray, defense: str) -> tuple[Recovery, ...]:
    """Of "defense/attack/threat_model" -> what was measured, and the true classes.

    Of a defence that detects, what it makes of images without asking its detector.
    """
    found = []
    bare = f"{defense}_without_detector"
    defense = bare if f"{bare}/none/none" in cells else defense
    for key, cell in cells.items():
        owner, attack, threat_model = key.split("/")
        if (owner, threat_model) != (defense, "grey_box"):
            continue
        fooled = fooled_images(cells, labels, attack, "white_box")
        right = (cell.predicted == labels)[fooled]
        low, high = wilson_interval(int(right.sum()), len(right)) if len(right) else (0.0, 1.0)
        share = float(right.mean()) if len(right) else 0.0
        knowing = cells[f"{defense}/{attack}/white_box"].predicted
        white_box = float(np.mean(knowing == labels[: len(knowing)]))
        found.append(Recovery(attack, share, len(right), low, high, white_box, len(knowing)))
    return tuple(found)


def fooled_images(
    cells: Mapping[str, PerImageResults], labels: np.ndarray, attack: str, threat_model: str
) -> np.ndarray:
    """bool [n]: the undefended classifier was right about the image, and is not about the attacked one."""
    attacked = cells[f"none/{attack}/{threat_model}"].predicted
    labels = labels[: len(attacked)]
    return (cells["none/none/none"].predicted[: len(attacked)] == labels) & (attacked != labels)


def restored_section(found: Sequence[Recovery]) -> list[str]:
    """The lines of a report, in Markdown."""
    lines = [["attack", "right after purifying, grey box", "right at all, white box"]]
    for each in found:
        cell = share_cell(each.restored, each.ci_low, each.ci_high, each.n) if each.n else "- n=0"
        lines.append([each.attack, cell, f"{each.white_box:.1%} n={each.white_box_n:,}"])
    title = "## Of the images that fooled the classifier"
    return [title, "", *markdown_table(lines), ""] if found else []
