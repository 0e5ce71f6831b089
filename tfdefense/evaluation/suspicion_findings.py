"""Quality of the output `suspicion` against attackers who know less or more."""

import dataclasses
from typing import NamedTuple

import numpy as np
import tensorflow as tf

from tfdefense.defenses.core.suspicion import SuspicionScale
from tfdefense.evaluation.detection import area_under_roc
from tfdefense.evaluation.measurements import Measurements
from tfdefense.evaluation.per_image_results import REFUSED, PerImageResults, ResultKey

ALARM = 0.99  # Suspicion from which an image counts as an alarm.
ADAPTIVE = "adaptive_white_box"
ATTACKERS = {
    "none": "none (clean)",
    "grey_box": "grey box",
    "white_box": "white box",
    ADAPTIVE: "adaptive white box",
}


@dataclasses.dataclass(frozen=True)
class SuspicionFinding:
    """Suspicion of the images of one attacker.

    Attributes:
      attack: label of the attack; "none" for clean images.
      threat_model: key of `ATTACKERS`. `ADAPTIVE` also keeps suspicion low.
      n: number of images.
      accuracy: share of the images that are classified correctly or, if attacked, refused.
      auc, auc_low, auc_high: area under the ROC curve, which is the probability that an attacked
        image has a higher suspicion than a clean one, and its 95 % interval; None for clean images.
      alarms: share of the images with a suspicion of `ALARM` or more.
      missed: share of the images that are neither correct nor an alarm.
      calibrated_on: number of clean images that suspicion was calibrated with.

    Raises:
      ValueError: an unknown threat model, or a number out of range.
    """

    attack: str
    threat_model: str
    n: int
    accuracy: float
    auc: float | None
    auc_low: float | None
    auc_high: float | None
    alarms: float
    missed: float
    calibrated_on: int

    def __post_init__(self) -> None:
        areas = (self.auc, self.auc_low, self.auc_high)
        has_area = self.threat_model != "none"
        if self.threat_model not in ATTACKERS or any(
            (each is not None) != has_area for each in areas
        ):
            raise ValueError("suspicion of an unknown kind")
        shares = (self.accuracy, self.alarms, self.missed, *(each or 0.0 for each in areas))
        if min(self.n, self.calibrated_on) < 1 or not all(0 <= share <= 1 for share in shares):
            raise ValueError("suspicion has a number out of range")


class CautiousResults(NamedTuple):
    """Results of an attack that also keeps suspicion low.

    Attributes:
      attack: its label.
      results: per image, on the first n images.
    """

    attack: str
    results: PerImageResults


def measure_suspicion(
    measurements: Measurements,
    pipeline: str,
    scale: SuspicionScale,
    cautious: CautiousResults | None = None,
) -> tuple[SuspicionFinding, ...]:
    """Return a finding for clean images and for each attacker, from results per image.

    Args:
      measurements: results per image. Of grey box and white box, the attack with the lowest accuracy
        counts.
      pipeline: name of the defended pipeline, with its detector.
      scale: scale of its suspicion.
      cautious: results of the adaptive attack; None leaves it out.
    """
    clean = measurements.per_image[str(ResultKey(pipeline, "none", "none"))]
    shown = [("none", "none", clean)]
    for threat_model in ("grey_box", "white_box"):
        attack = _strongest_attack(measurements, pipeline, threat_model)
        if attack is not None:
            results = measurements.per_image[str(ResultKey(pipeline, attack, threat_model))]
            shown.append((attack, threat_model, results))
    if cautious is not None:
        shown.append((cautious.attack, ADAPTIVE, cautious.results))
    labels, reference = measurements.test.labels, _suspicion(scale, clean)
    findings = []
    for attack, threat_model, results in shown:
        counted = np.ones(len(results), bool) if results.counted is None else results.counted
        suspicion = _suspicion(scale, results)[counted]
        correct = results.predicted == labels[: len(results)]
        if threat_model != "none":
            correct |= results.predicted == REFUSED
        alarm = suspicion >= np.float32(ALARM)
        area, low, high = (
            (None, None, None) if threat_model == "none" else area_under_roc(reference, suspicion)
        )
        findings.append(
            SuspicionFinding(
                attack,
                threat_model,
                len(suspicion),
                accuracy=float(correct[counted].mean()),
                auc=area,
                auc_low=low,
                auc_high=high,
                alarms=float(alarm.mean()),
                missed=float(np.mean(~correct[counted] & ~alarm)),
                calibrated_on=len(scale),
            )
        )
    return tuple(findings)


def _strongest_attack(measurements: Measurements, pipeline: str, threat_model: str) -> str | None:
    """Return the label of the attack with the lowest accuracy; None if there is none."""
    rows = [
        row
        for row in measurements.rows
        if (row.defense, row.threat_model) == (pipeline, threat_model)
        and row.attack != "worst_case"
    ]
    return min(rows, key=lambda row: row.accuracy).attack if rows else None


def _suspicion(scale: SuspicionScale, results: PerImageResults) -> np.ndarray:
    """Return the suspicion of images, float32 [n]."""
    values = {
        "change": results.change,
        "disagreement": results.disagreement,
        "score": results.excess,
    }
    return scale({name: tf.constant(values[name]) for name in scale.values}).numpy()
