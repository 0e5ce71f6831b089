"""Check that an attacker with more knowledge fools more images."""

from typing import NamedTuple

import numpy as np

from tfdefense.attacks import Square
from tfdefense.evaluation.checks.check import (
    MAX_EXTRA_SHARE,
    Check,
    CheckEvidence,
    conclude,
    is_few,
)
from tfdefense.evaluation.measurements import Measurements
from tfdefense.evaluation.threat_models import THREAT_MODEL_TITLES


class _Comparison(NamedTuple):
    """Images that withstand the white box, and those that withstand a weaker attacker, bool [n]."""

    weaker: str
    white_box: np.ndarray
    other: np.ndarray


def _examine(evidence: CheckEvidence) -> tuple[bool, str]:
    measurements, defense = evidence.measurements, evidence.pipeline_names[0]
    comparisons = [*_threat_models(measurements, defense), *_square(measurements, defense)]
    passed, counts = True, []
    for weaker, white_box, other in comparisons:
        n = min(len(white_box), len(other))
        missed = int(np.sum(white_box[:n] & ~other[:n]))
        passed &= is_few(missed, n)
        counts.append(f"{missed} of {n:,} ({weaker})")
    if not {"black box", "square"} & {each.weaker for each in comparisons}:
        diagnostics = evidence.diagnostics
        missed = int(np.sum(diagnostics.fooled_by_square()))
        passed &= is_few(missed, diagnostics.n)
        counts.append(
            f"{missed} of {diagnostics.n:,} (square, {diagnostics.max_queries:,} queries)"
        )
    return conclude(
        passed=passed,
        finding=f"Images that withstand the white-box attacks but not a weaker one: {', '.join(counts)}.",
        warning="The white-box attacks of this report are too weak, or the defence masks gradients.",
    )


def _threat_models(measurements: Measurements, defense: str) -> list[_Comparison]:
    """Compare the white box with each threat model that knows less."""
    white_box = measurements.withstood(defense, "white_box")
    return [
        _Comparison(
            THREAT_MODEL_TITLES[threat_model],
            white_box,
            measurements.withstood(defense, threat_model),
        )
        for threat_model in ("grey_box", "transfer", "black_box")
        if any(row.threat_model == threat_model for row in measurements.rows)
    ]


def _square(measurements: Measurements, defense: str) -> list[_Comparison]:
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
        square = {label for label in attacks if label.split(":")[0] == Square.name}
        others = attacks - square
        if square and others:
            withstood = measurements.withstood(defense, "white_box", others)
            against_square = measurements.withstood(defense, "white_box", square)
            comparisons.append(_Comparison("square", withstood, against_square))
    return comparisons


WHITE_BOX_STRONGEST = Check(
    name="White box is the strongest attacker",
    question="Does an attacker with less knowledge, or without gradients, fool images that the"
    " white-box attacks do not?",
    source="Carlini et al. 2019, sections 4.4 and 5.4; Athalye et al. 2018, section 3.1",
    rule=f"the 95 % interval of the share of such images begins at {MAX_EXTRA_SHARE:.0%} or below",
    examine=_examine,
)
