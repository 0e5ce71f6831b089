"""Check that more steps and more restarts of PGD fool no further images."""

import numpy as np

from tfdefense.evaluation.checks.check import (
    MAX_EXTRA_SHARE,
    Check,
    CheckEvidence,
    conclude,
    is_few,
)


def _examine(evidence: CheckEvidence) -> tuple[bool, str]:
    diagnostics = evidence.diagnostics
    n = diagnostics.n
    by_steps = int(np.sum(diagnostics.withstood & diagnostics.fooled_by_many_steps))
    by_restarts = int(np.sum(diagnostics.withstood & diagnostics.fooled_by_restarts))
    return conclude(
        passed=is_few(by_steps, n) and is_few(by_restarts, n),
        finding="Images that withstand the attacks of this report but not a longer one:"
        f" {by_steps} of {n:,} ({diagnostics.many_steps:,} steps),"
        f" {by_restarts} of {n:,} ({diagnostics.RESTARTS} restarts).",
        warning="The attacks of this report are too weak. Add --attacks=pgd:steps=200:restarts=5 or"
        " --attacks=auto_attack.",
    )


ATTACKS_CONVERGED = Check(
    name="Attacks have converged",
    question="Do more steps or more restarts of PGD fool images that the attacks of the report do"
    " not?",
    source="Carlini et al. 2019, sections 4.8 and 4.9",
    rule=f"the 95 % interval of the share of such images begins at {MAX_EXTRA_SHARE:.0%} or below",
    examine=_examine,
)
