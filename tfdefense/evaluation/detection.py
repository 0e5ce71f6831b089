"""Detector quality: the share of images that it refuses, and its area under the ROC curve."""

import dataclasses
import math
from collections.abc import Mapping

import numpy as np
from sklearn.metrics import roc_auc_score

from tfdefense.evaluation.per_image_results import PerImageResults, ResultKey
from tfdefense.utils.statistics import wilson_interval


@dataclasses.dataclass(frozen=True)
class Detection:
    """Share of the images of one row that a detector refuses.

    Attributes:
      attack, threat_model: as in the row; "none" for clean images.
      refused: share of the n images that the detector refuses, in [0, 1].
      n: number of images that the row counts.
      ci_low, ci_high: 95 % Wilson interval of the share.
      auc: area under the ROC curve, which is the probability that the detector scores an attacked image
        higher than a clean one; None for clean images.
    """

    attack: str
    threat_model: str
    refused: float
    n: int
    ci_low: float
    ci_high: float
    auc: float | None


def measure_detection(per_image: Mapping[str, PerImageResults]) -> tuple[Detection, ...]:
    """Return one `Detection` per row with detector scores; clean images first.

    Args:
      per_image: "defense/attack/threat_model" -> results, as in `Report.per_image`.
    """
    scores = detector_scores(per_image)
    if not scores:
        return ()
    clean = next(iter(scores.values()))
    return tuple(_measured(key, clean, excess) for key, excess in scores.items())


def detector_scores(per_image: Mapping[str, PerImageResults]) -> dict[ResultKey, np.ndarray]:
    """Return the scores of the images that each row counts, if there are any; clean images first."""
    scores = {}
    for key, results in per_image.items():
        if results.excess is not None:
            counted = slice(None) if results.counted is None else results.counted
            scores[ResultKey.parse(key)] = results.excess[counted]
    return {key: excess for key, excess in scores.items() if len(excess)}


def labelled_scores(clean: np.ndarray, attacked: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return labels, 0 for clean and 1 for attacked images, and the scores of both, as scikit-learn takes them."""
    is_attacked = np.concatenate([np.zeros(len(clean)), np.ones(len(attacked))])
    return is_attacked, np.concatenate([clean, attacked])


def area_under_roc(clean: np.ndarray, attacked: np.ndarray) -> tuple[float, float, float]:
    """Return the area under the ROC curve and its 95 % interval: (area, low, high), in [0, 1].

    The interval is that of Hanley and McNeil, "The Meaning and Use of the Area under a Receiver
    Operating Characteristic (ROC) Curve", Radiology 143, 1982, equations 1 and 2.

    Args:
      clean: scores of clean images [n].
      attacked: scores of attacked images [m].
    """
    area = float(roc_auc_score(*labelled_scores(clean, attacked)))
    q1, q2 = area / (2 - area), 2 * area**2 / (1 + area)
    n, m = len(clean), len(attacked)
    variance = area * (1 - area) + (m - 1) * (q1 - area**2) + (n - 1) * (q2 - area**2)
    margin = 1.96 * math.sqrt(max(variance, 0) / (n * m))
    return area, max(area - margin, 0.0), min(area + margin, 1.0)


def _measured(key: ResultKey, clean: np.ndarray, excess: np.ndarray) -> Detection:
    refused = excess > 0
    low, high = wilson_interval(int(refused.sum()), len(refused))
    area = None if key.attack == "none" else area_under_roc(clean, excess)[0]
    share = float(refused.mean())
    return Detection(key.attack, key.threat_model, share, len(excess), low, high, area)
