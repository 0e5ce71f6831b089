"""Check that the loss of images that withstand the attacks no longer rises at the last steps."""

import numpy as np

from tfdefense.evaluation.checks.check import Check, CheckEvidence, conclude
from tfdefense.utils.statistics import wilson_interval

LAST_STEPS = 10
MAX_CHANGE = 0.05
MAX_UNFINISHED_SHARE = 0.1


def unfinished_images(losses: np.ndarray) -> np.ndarray:
    """Return bool [N]: images whose highest loss so far still rises in the last steps.

    The rise in the last `LAST_STEPS` steps is more than `MAX_CHANGE` of the range of the losses.

    Args:
      losses: loss before the first step and after each step, float32 [S + 1, N].
    """
    highest = np.maximum.accumulate(losses, axis=0)
    span = losses.max(axis=0) - losses.min(axis=0)
    rise = highest[-1] - highest[-min(LAST_STEPS, len(losses))]
    return rise > MAX_CHANGE * span


def _examine(evidence: CheckEvidence) -> tuple[bool, str]:
    diagnostics = evidence.diagnostics
    n, trace = diagnostics.n, diagnostics.trace
    standing = diagnostics.withstood & ~trace.fooled.any(axis=0)
    unfinished = int(np.sum(standing & unfinished_images(trace.losses)))
    return conclude(
        passed=wilson_interval(unfinished, n)[0] <= MAX_UNFINISHED_SHARE,
        finding=f"After {diagnostics.sizes.steps} steps of PGD, the loss still rises at {unfinished} of"
        f" {n:,} images; {int(standing.sum())} withstand it and the attacks of this report.",
        warning="PGD has not reached the maximum there. More steps or larger ones may fool these"
        " images: --attacks=pgd:steps=200.",
    )


OPTIMIZATION_FINISHED = Check(
    key="optimization_finished",
    name="The optimisation is finished",
    question=f"For how many images that withstand the attacks do the last {LAST_STEPS} steps of PGD"
    f" raise the loss by more than {MAX_CHANGE:.0%} of its range?",
    source="Pintor et al. 2022, indicator incomplete optimisation",
    rule=f"the 95 % interval of their share begins at {MAX_UNFINISHED_SHARE:.0%} or below",
    examine=_examine,
    probes=("trace",),
)
