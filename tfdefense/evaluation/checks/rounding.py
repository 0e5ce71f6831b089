"""Check that adversarial images still fool after rounding to the 8 bits of an image file."""

from tfdefense.evaluation.checks.check import Check, CheckEvidence, conclude
from tfdefense.utils.statistics import wilson_interval

MAX_LOST_SHARE = 0.05


def _examine(evidence: CheckEvidence) -> tuple[bool, str]:
    fooled, lost = evidence.diagnostics.rounding
    return conclude(
        passed=not fooled or wilson_interval(lost, fooled)[0] <= MAX_LOST_SHARE,
        finding=f"Of {fooled} images that PGD fools, {lost} no longer fool after rounding to 8 bits.",
        warning="The attack depends on differences that no image file has. For images from files the"
        " robust accuracy is higher than in this report.",
    )


ROUNDING = Check(
    key="rounding",
    name="Adversarial images survive rounding",
    question="Do adversarial images in float32 still fool after rounding to 8 bits, as in a file?",
    source="Carlini, Wagner 2017, Towards Evaluating the Robustness of Neural Networks"
    " (discretisation)",
    rule=f"the 95 % interval of the share that no longer fools begins at {MAX_LOST_SHARE:.0%} or below",
    examine=_examine,
    probes=("trace", "rounding"),
)
