"""Check that attacks have a gradient to follow."""

import numpy as np

from tfdefense.evaluation.checks.check import Check, CheckEvidence, conclude

MAX_BLIND_SHARE = 0.05


def _examine(evidence: CheckEvidence) -> tuple[bool, str]:
    diagnostics = evidence.diagnostics
    blind = int(np.sum(diagnostics.trace.no_gradient))
    return conclude(
        passed=blind <= MAX_BLIND_SHARE * diagnostics.n,
        finding=f"The gradient is zero at every pixel of {blind} of {diagnostics.n:,} images.",
        warning="Gradient attacks fail on them. Declare a surrogate gradient (bpda), or rely on the square"
        " attack only.",
    )


GRADIENTS_EXIST = Check(
    key="gradients_exist",
    name="Gradients exist",
    question="On what share of the images is the gradient of the loss zero at every pixel?",
    source="Carlini et al. 2019, section 4.7; Athalye et al. 2018, section 3",
    rule=f"the share is at most {MAX_BLIND_SHARE:.0%}",
    examine=_examine,
    probes=("trace",),
)
