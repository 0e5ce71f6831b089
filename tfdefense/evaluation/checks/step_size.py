"""Check that other step sizes of PGD fool no further images."""

from tfdefense.evaluation.checks.check import (
    MAX_EXTRA_SHARE,
    Check,
    CheckEvidence,
    conclude,
    is_few,
)


def _examine(evidence: CheckEvidence) -> tuple[bool, str]:
    diagnostics = evidence.diagnostics
    missed = diagnostics.missed_by_step_size
    counts = ", ".join(f"{count} of {diagnostics.n:,} ({name})" for name, count in missed.items())
    return conclude(
        passed=all(is_few(count, diagnostics.n) for count in missed.values()),
        finding=f"Images that withstand the attacks of this report but not another step size: {counts}.",
        warning="The attacks of this report follow misleading gradients or are too weak.",
    )


STEP_SIZE = Check(
    key="step_size",
    name="Step size does not matter",
    question="Does PGD with other step sizes fool images that the attacks of the report do not?",
    source="Carlini et al. 2019, sections 4.9 and 5.2; Athalye et al. 2018, section 3.1",
    rule="for each step size, the 95 % interval of the share of such images begins at"
    f" {MAX_EXTRA_SHARE:.0%} or below",
    examine=_examine,
    probes=("step_sizes",),
    counts_missed=True,
)
