"""Comparisons of the white-box attacks with attackers that know less, image by image."""

from typing import NamedTuple

import numpy as np

from tfdefense.attacks import Square
from tfdefense.evaluation.checks.check import CheckEvidence
from tfdefense.evaluation.measurements import Measurements
from tfdefense.evaluation.threat_models import THREAT_MODEL_TITLES

_BLACK_BOX = "black_box"


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
    """Compare the white box with each threat model that knows less."""
    white_box = measurements.withstood(defense, "white_box")
    return [
        _compare(THREAT_MODEL_TITLES[name], white_box, measurements.withstood(defense, name))
        for name in ("grey_box", "transfer", _BLACK_BOX)
        if any(row.threat_model == name for row in measurements.rows)
    ]


def compare_square(measurements: Measurements, defense: str) -> list[AttackerComparison]:
    """Compare gradient attacks with Square, for each radius and norm at which the report has both.

    Square needs no gradient, so it finds images that masked gradients hide. It must not count among the
    attacks that it is compared with. AutoAttack ends with Square, so AutoAttack counts as one of them.
    """
    balls: dict[tuple[float, bool], set[str]] = {}
    for row in measurements.rows:
        if (row.defense, row.threat_model) != (defense, "white_box"):
            continue
        if row.epsilon is not None and row.attack != "worst_case":
            balls.setdefault((row.epsilon, "norm=l2" in row.attack), set()).add(row.attack)
    comparisons = []
    for attacks in balls.values():
        square = {label for label in attacks if _is_square(label)}
        others = attacks - square
        if square and others:
            withstood = measurements.withstood(defense, "white_box", others)
            against_square = measurements.withstood(defense, "white_box", square)
            comparisons.append(_compare("square", withstood, against_square))
    return comparisons


def compare_black_box_square(measurements: Measurements, defense: str) -> list[AttackerComparison]:
    """Compare the white-box attacks other than Square with Square in the black box."""
    labels = {
        threat_model: {
            row.attack
            for row in measurements.rows
            if (row.defense, row.threat_model) == (defense, threat_model)
            and row.attack != "worst_case"
        }
        for threat_model in ("white_box", _BLACK_BOX)
    }
    square = {label for label in labels[_BLACK_BOX] if _is_square(label)}
    others = {label for label in labels["white_box"] if not _is_square(label)}
    if not square or not others:
        return []
    withstood = measurements.withstood(defense, "white_box", others)
    against_square = measurements.withstood(defense, _BLACK_BOX, square)
    return [_compare("square, black box", withstood, against_square)]


def probe_square(evidence: CheckEvidence) -> AttackerComparison:
    """Compare the white-box attacks with a Square attack on the images of the checks."""
    diagnostics = evidence.diagnostics
    title = f"square, {diagnostics.sizes.queries:,} queries"
    return AttackerComparison(title, diagnostics.missed_by_square, diagnostics.n)


def _compare(weaker: str, white_box: np.ndarray, other: np.ndarray) -> AttackerComparison:
    n = min(len(white_box), len(other))
    return AttackerComparison(weaker, int(np.sum(white_box[:n] & ~other[:n])), n)


def _is_square(label: str) -> bool:
    return label.split(":")[0] == Square.name
