"""Check that an attacker with more knowledge fools more images."""

from tfdefense.evaluation.checks.check import (
    MAX_EXTRA_SHARE,
    NOT_CHECKED,
    Check,
    CheckEvidence,
    conclude,
    is_few,
)
from tfdefense.evaluation.checks.comparisons import (
    compare_square,
    compare_threat_models,
    probe_square,
)


def _examine(evidence: CheckEvidence) -> tuple[bool, str]:
    measurements, defense = evidence.measurements, evidence.pipeline_names[0]
    comparisons = compare_threat_models(measurements, defense)
    comparisons += compare_square(measurements, defense)
    if not {"black box", "square"} & {each.weaker for each in comparisons}:
        comparisons += probe_square(evidence)
    if not comparisons:
        return True, NOT_CHECKED
    return conclude(
        passed=all(is_few(each.missed, each.n) for each in comparisons),
        finding="Images that withstand the white-box attacks but not a weaker one:"
        f" {', '.join(map(str, comparisons))}.",
        warning="The white-box attacks of this report are too weak, or the defence masks gradients.",
    )


WHITE_BOX_STRONGEST = Check(
    key="white_box_strongest",
    name="White box is the strongest attacker",
    question="Does an attacker with less knowledge, or without gradients, fool images that the"
    " white-box attacks do not?",
    source="Carlini et al. 2019, sections 4.4 and 5.4; Athalye et al. 2018, section 3.1",
    rule=f"the 95 % interval of the share of such images begins at {MAX_EXTRA_SHARE:.0%} or below",
    examine=_examine,
    probes=("square",),
)
