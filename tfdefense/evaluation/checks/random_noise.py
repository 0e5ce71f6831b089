"""Check that random noise fools no image that the attacks do not."""

from tfdefense.evaluation.checks.check import (
    MAX_EXTRA_SHARE,
    Check,
    CheckEvidence,
    conclude,
    is_few,
)


def _examine(evidence: CheckEvidence) -> tuple[bool, str]:
    diagnostics = evidence.diagnostics
    fooled = diagnostics.missed_by_noise
    withstood = int(diagnostics.withstood.sum())
    return conclude(
        passed=is_few(fooled, diagnostics.n),
        finding=f"{withstood} of {diagnostics.n:,} images withstand the attacks. {diagnostics.sizes.draws:,}"
        f" random perturbations of each fool {fooled} of them.",
        warning="The attacks of this report do not work.",
    )


RANDOM_NOISE = Check(
    key="random_noise",
    name="Random noise finds nothing",
    question="Do random perturbations fool images that the attacks of the report do not?",
    source="Carlini et al. 2019, section 4.11; Athalye et al. 2018, section 3.1",
    rule=f"the 95 % interval of the share of such images begins at {MAX_EXTRA_SHARE:.0%} or below",
    examine=_examine,
    probes=("noise",),
    counts_missed=True,
)
