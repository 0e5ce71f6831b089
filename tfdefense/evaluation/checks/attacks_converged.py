"""Check that more steps and more restarts of PGD fool no further images."""

from tfdefense.evaluation.checks.check import (
    MAX_EXTRA_SHARE,
    Check,
    CheckEvidence,
    conclude,
    is_few,
)
from tfdefense.evaluation.checks.sizes import RESTARTS


def _examine(evidence: CheckEvidence) -> tuple[bool, str]:
    diagnostics = evidence.diagnostics
    n = diagnostics.n
    by_steps, by_restarts = diagnostics.missed_by_effort
    return conclude(
        passed=is_few(by_steps, n) and is_few(by_restarts, n),
        finding="Images that withstand the attacks of this report but not a longer one:"
        f" {by_steps} of {n:,} ({diagnostics.sizes.many_steps:,} steps),"
        f" {by_restarts} of {n:,} ({RESTARTS} restarts).",
        warning="The attacks of this report are too weak. Add --attacks=pgd:steps=200:restarts=5 or"
        " --attacks=auto_attack.",
    )


ATTACKS_CONVERGED = Check(
    key="attacks_converged",
    name="Attacks have converged",
    question="Do more steps or more restarts of PGD fool images that the attacks of the report do"
    " not?",
    source="Carlini et al. 2019, sections 4.8 and 4.9",
    rule=f"the 95 % interval of the share of such images begins at {MAX_EXTRA_SHARE:.0%} or below",
    examine=_examine,
    probes=("more_effort",),
    counts_missed=True,
)
