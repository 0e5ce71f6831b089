"""Recovery: the share of images that fooled the classifier and are correct after purification."""

import dataclasses
from collections.abc import Mapping

import numpy as np

from tfdefense.evaluation.per_image_results import PerImageResults
from tfdefense.evaluation.pipelines import name_without_detector
from tfdefense.utils.statistics import wilson_interval


@dataclasses.dataclass(frozen=True)
class Recovery:
    """Recovery under one grey-box attack, as Yu et al. 2020 measure it (section 5.2).

    It is computed from the images on which the attack succeeded: the undefended classifier is
    correct before the attack and wrong after it.

    Attributes:
      attack: label of the attack.
      restored: share of these images that are classified correctly after purification, in [0, 1]; 0
        if there are none.
      n: number of these images.
      ci_low, ci_high: 95 % Wilson interval of the share.
      white_box: accuracy under the same attack on the defended pipeline, which is shown next to the
        grey-box share.
      white_box_n: number of images of the white-box accuracy.
    """

    attack: str
    restored: float
    n: int
    ci_low: float
    ci_high: float
    white_box: float
    white_box_n: int


def measure_recovery(
    per_image: Mapping[str, PerImageResults], labels: np.ndarray, defense: str
) -> tuple[Recovery, ...]:
    """Return the recovery under each grey-box attack.

    A defence with a detector is measured without the detector.

    Args:
      per_image: "defense/attack/threat_model" -> results, as in `Report.per_image`.
      labels: true classes int32 [N].
      defense: name of the defence.
    """
    undetected = name_without_detector(defense)
    defense = undetected if f"{undetected}/none/none" in per_image else defense
    found = []
    for key, results in per_image.items():
        owner, attack, threat_model = key.split("/")
        if (owner, threat_model) != (defense, "grey_box"):
            continue
        fooled = find_fooling_images(per_image, labels, attack, "white_box")
        correct = (results.predicted == labels)[fooled]
        n = len(correct)
        low, high = wilson_interval(int(correct.sum()), n) if n else (0.0, 1.0)
        share = float(correct.mean()) if n else 0.0
        predicted = per_image[f"{defense}/{attack}/white_box"].predicted
        white_box = float(np.mean(predicted == labels[: len(predicted)]))
        found.append(Recovery(attack, share, n, low, high, white_box, len(predicted)))
    return tuple(found)


def find_fooling_images(
    per_image: Mapping[str, PerImageResults], labels: np.ndarray, attack: str, threat_model: str
) -> np.ndarray:
    """Return bool [n]: images that the undefended classifier classifies correctly only before the attack."""
    attacked = per_image[f"none/{attack}/{threat_model}"].predicted
    labels = labels[: len(attacked)]
    clean = per_image["none/none/none"].predicted[: len(attacked)]
    return (clean == labels) & (attacked != labels)
