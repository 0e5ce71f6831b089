"""Check that no attack crosses the boundary on its way and returns an image that does not fool."""

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
    on_the_way = diagnostics.trace.fooled.any(axis=0)
    returns_without = int(np.sum(on_the_way & ~diagnostics.trace.fooled[-1]))
    missed = int(np.sum(on_the_way & diagnostics.withstood))
    return conclude(
        passed=is_few(missed, diagnostics.n),
        finding=f"PGD passes through a misclassified point and ends at a correct one for {returns_without}"
        f" of {diagnostics.n:,} images. The attacks of this report miss {missed} images that it"
        " misclassifies at some step.",
        warning="They do not return the best image that they find, or their steps are too large."
        " Stop at success (stop_at_success=true), keep the image of highest loss, or try the small"
        " steps of --attacks=pgd.",
    )


SILENT_SUCCESS = Check(
    key="silent_success",
    name="Attacks return what they find",
    question="Do the attacks of the report miss images that PGD misclassifies at some step on its"
    " way?",
    source="Pintor et al. 2022, indicator silent success",
    rule=f"the 95 % interval of the share of such images begins at {MAX_EXTRA_SHARE:.0%} or below",
    examine=_examine,
    probes=("trace",),
    counts_missed=True,
)
