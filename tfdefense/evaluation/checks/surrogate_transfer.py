"""Check that what fools the surrogate of a pipeline fools the pipeline."""

from tfdefense.evaluation.checks.check import (
    MAX_EXTRA_SHARE,
    Check,
    CheckEvidence,
    conclude,
    is_few,
)


def _examine(evidence: CheckEvidence) -> tuple[bool, str]:
    diagnostics = evidence.diagnostics
    found = diagnostics.surrogate_only
    if found is None:
        return True, "No step of the pipeline has a function declared in its place (bpda)."
    tried, only_surrogate = found
    return conclude(
        passed=is_few(only_surrogate, diagnostics.n),
        finding=f"PGD on the surrogate fools it, but not the pipeline, on {only_surrogate} of"
        f" {diagnostics.n:,} images. {tried} of them withstand the attacks of this report and are"
        " correct on the surrogate before.",
        warning="The declared gradient leads elsewhere, so gradient attacks say little about these"
        " images. Declare a function that is closer to the step, or rely on the square attack.",
    )


SURROGATE_TRANSFER = Check(
    key="surrogate_transfer",
    name="What fools the surrogate fools the pipeline",
    question="If the functions behind declared gradients (bpda) replace their steps, how many images"
    " that withstand the attacks does PGD turn into images that fool only this surrogate?",
    source="Pintor et al. 2022, indicator transfer failure; Tramèr et al. 2020; Athalye et al. 2018,"
    " section 4.1",
    rule=f"the 95 % interval of their share begins at {MAX_EXTRA_SHARE:.0%} or below",
    examine=_examine,
    probes=("surrogate",),
    counts_missed=True,
)
