"""Check that accuracy falls to chance without a bound on the perturbation."""

from tfdefense.evaluation.checks.check import Check, CheckEvidence, conclude
from tfdefense.utils.statistics import wilson_interval
from tfdefense.utils.tables import format_percent


def _examine(evidence: CheckEvidence) -> tuple[bool, str]:
    diagnostics = evidence.diagnostics
    n, chance = diagnostics.n, 1 / diagnostics.num_classes
    correct = n - int(diagnostics.fooled_without_bound.sum())
    return conclude(
        passed=wilson_interval(correct, n)[0] <= chance,
        finding=f"White-box accuracy with epsilon 1: {format_percent(correct / n, 0)}, n = {n:,}.",
        warning=f"With epsilon 1 every image can become any other, so accuracy must fall to chance"
        f" ({format_percent(chance, 0)}). The attack does not work.",
    )


FALLS_TO_CHANCE = Check(
    key="falls_to_chance",
    name="Accuracy falls to chance",
    question="Does white-box accuracy fall to chance with epsilon 1, where an image can become any"
    " other?",
    source="Carlini et al. 2019, sections 5.2 and 5.3; Athalye et al. 2018, section 3.1",
    rule="the 95 % interval of the accuracy begins at chance or below",
    examine=_examine,
    probes=("unbounded",),
)
