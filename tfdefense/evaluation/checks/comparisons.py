"""Comparisons of the white-box attacks with attackers that know less, image by image."""

from typing import NamedTuple

import numpy as np

from tfdefense.attacks import Square
from tfdefense.evaluation.checks.check import CheckEvidence
from tfdefense.evaluation.measurements import Measurements
from tfdefense.evaluation.per_image_results import ResultKey
from tfdefense.evaluation.threat_models import THREAT_MODEL_TITLES

_WHITE_BOX, _BLACK_BOX = "white_box", "black_box"


class AttackerComparison(NamedTuple):
    """Images that a weaker attacker fools and the white box does not.

    Attributes:
      weaker: the weaker attacker.
      missed: number of such images.
      n: number of images that both attacked.
    """

    weaker: str
    missed: int
    n: int

    def __str__(self) -> str:
        return f"{self.missed} of {self.n:,} ({self.weaker})"


def compare_threat_models(measurements: Measurements, defense: str) -> list[AttackerComparison]:
    """Compare the white box with each threat model that knows less, in each ball that both have."""
    white_box = _labels_by_ball(measurements, defense, _WHITE_BOX)
    comparisons = []
    for name in ("grey_box", "transfer", _BLACK_BOX):
        for ball, labels in _labels_by_ball(measurements, defense, name).items():
            if ball in white_box:
                strong = measurements.withstood(defense, _WHITE_BOX, white_box[ball])
                weak = measurements.withstood(defense, name, labels)
                comparisons.append(_compare(THREAT_MODEL_TITLES[name], strong, weak))
    return comparisons


def compare_square(measurements: Measurements, defense: str) -> list[AttackerComparison]:
    """Compare gradient attacks with Square, for each radius and norm at which the report has both.

    Square needs no gradient, so it finds images that masked gradients hide. AutoAttack, which ends
    with Square, is a gradient attack here: what Square alone finds, AutoAttack must have found.
    """
    return _compare_with_square(measurements, defense, _WHITE_BOX, "square")


def compare_black_box_square(measurements: Measurements, defense: str) -> list[AttackerComparison]:
    """Compare the gradient attacks of the white box with Square in the black box, as above."""
    return _compare_with_square(measurements, defense, _BLACK_BOX, "square, black box")


def _compare_with_square(
    measurements: Measurements, defense: str, threat_model: str, title: str
) -> list[AttackerComparison]:
    """Compare with the Square rows of a threat model."""
    white_box = _labels_by_ball(measurements, defense, _WHITE_BOX)
    comparisons = []
    for ball, labels in _labels_by_ball(measurements, defense, threat_model).items():
        square = {label for label in labels if _is_square(label)}
        others = {
            label
            for label in white_box.get(ball, ())
            if _uses_gradients(measurements, ResultKey(defense, label, _WHITE_BOX))
        }
        if ball[0] is not None and square and others:
            withstood = measurements.withstood(defense, _WHITE_BOX, others)
            against_square = measurements.withstood(defense, threat_model, square)
            comparisons.append(_compare(title, withstood, against_square))
    return comparisons


def _labels_by_ball(
    measurements: Measurements, defense: str, threat_model: str
) -> dict[tuple[float | None, str], set[str]]:
    """Return (radius, norm) -> labels of the attacks of a threat model.

    Attacks without a radius have the ball (None, ""); they are left out if others have one.
    """
    balls: dict[tuple[float | None, str], set[str]] = {}
    for row in measurements.rows:
        is_attack = row.attack not in ("none", "worst_case")
        if is_attack and (row.defense, row.threat_model) == (defense, threat_model):
            norm = "" if row.epsilon is None else measurements.norm_of(row.attack)
            balls.setdefault((row.epsilon, norm), set()).add(row.attack)
    without_radius = balls.pop((None, ""), set())
    return balls or ({(None, ""): without_radius} if without_radius else {})


def _uses_gradients(measurements: Measurements, key: ResultKey) -> bool:
    """Return whether an attack computed gradients; all do if that is unknown, except Square."""
    gradients = measurements.per_image[str(key)].gradients
    if gradients is not None and len(gradients):
        return bool(np.any(gradients > 0))
    return not _is_square(key.attack)


def probe_square(evidence: CheckEvidence) -> list[AttackerComparison]:
    """Compare the white-box L-infinity attacks, if there are some, with Square on images of the checks."""
    diagnostics = evidence.diagnostics
    if not diagnostics.has_bounded_attacks:
        return []
    title = f"square, {diagnostics.sizes.queries:,} queries"
    return [AttackerComparison(title, diagnostics.missed_by_square, diagnostics.n)]


def _compare(weaker: str, white_box: np.ndarray, other: np.ndarray) -> AttackerComparison:
    n = min(len(white_box), len(other))
    return AttackerComparison(weaker, int(np.sum(white_box[:n] & ~other[:n])), n)


def _is_square(label: str) -> bool:
    return label.split(":")[0] == Square.name
