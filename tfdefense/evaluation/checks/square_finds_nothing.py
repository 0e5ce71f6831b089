"""Check that Square lowers robust accuracy by no more than AutoAttack tolerates."""

from tfdefense.evaluation.checks.check import NOT_CHECKED, Check, CheckEvidence, conclude
from tfdefense.evaluation.checks.comparisons import (
    AttackerComparison,
    compare_black_box_square,
    compare_square,
    probe_square,
)
from tfdefense.utils.statistics import wilson_interval

MAX_DROP = 0.002


def _examine(evidence: CheckEvidence) -> tuple[bool, str]:
    measurements, defense = evidence.measurements, evidence.pipeline_names[0]
    comparisons = compare_square(measurements, defense)
    comparisons += compare_black_box_square(measurements, defense)
    comparisons = comparisons or probe_square(evidence)
    if not comparisons:
        return True, NOT_CHECKED
    return conclude(
        passed=all(each.missed / each.n <= MAX_DROP for each in comparisons),
        finding=f"Square lowers robust accuracy by {'; '.join(map(_describe, comparisons))}.",
        warning="The gradient attacks miss these images, so robust accuracy is lower than they say."
        " Add --attacks=auto_attack, more queries of square, or an attack that is adapted to the"
        " defence.",
    )


def _describe(comparison: AttackerComparison) -> str:
    """Return the drop with its interval, and how many images are needed to see `MAX_DROP`."""
    weaker, missed, n = comparison
    low, high = wilson_interval(missed, n)
    text = (
        f"{100 * missed / n:.1f} points, 95 % interval [{100 * low:.1f}, {100 * high:.1f}]"
        f" ({missed} of {n:,}, {weaker})"
    )
    if missed == 0 and high > MAX_DROP:
        text += f", too few images to exclude a drop of {100 * MAX_DROP:.1f} points"
    return text


SQUARE_FINDS_NOTHING = Check(
    key="square_finds_nothing",
    name="Square finds nothing more",
    question="By how much does Square lower the robust accuracy that gradient attacks leave?",
    source="AutoAttack (Croce, Hein 2020), whose program warns from this drop; Carlini et al. 2019",
    rule=f"it is at most {100 * MAX_DROP:.1f} points; with fewer than {round(1 / MAX_DROP)}"
    " images it is 0",
    examine=_examine,
    probes=("square",),
)
