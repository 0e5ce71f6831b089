"""Check that images that withstand the attacks are not about to fall when the last step ends."""

import numpy as np

from tfdefense.evaluation.checks.check import Check, CheckEvidence, conclude
from tfdefense.utils.statistics import wilson_interval

LAST_STEPS = 10
MAX_CHANGE = 0.05
MAX_FALLING_SHARE = 0.05


def unfinished_images(losses: np.ndarray) -> np.ndarray:
    """Return bool [N]: images whose highest loss so far still rises in the last steps.

    The rise in the last `LAST_STEPS` steps is more than `MAX_CHANGE` of the range of the losses.

    Args:
      losses: loss before the first step and after each step, float32 [S + 1, N].
    """
    highest = np.maximum.accumulate(losses, axis=0)
    span = losses.max(axis=0) - losses.min(axis=0)
    return highest[-1] - highest[-1 - _last_steps(losses)] > MAX_CHANGE * span


def falling_images(losses: np.ndarray) -> np.ndarray:
    """Return bool [N]: images that as many steps again would bring to a probability of 50 %.

    The log-odds against the label, log((1 - p) / p) with the cross-entropy -log p, are extrapolated
    at the pace of the last `LAST_STEPS` steps. An image is misclassified only if they are above 0.

    Args:
      losses: cross-entropy, as in `unfinished_images`.
    """
    highest = np.maximum(np.maximum.accumulate(losses, axis=0), 1e-12)
    log_odds = highest + np.log(-np.expm1(-highest))  # log(exp(loss) - 1) without overflow.
    steps = _last_steps(losses)
    pace = (log_odds[-1] - log_odds[-1 - steps]) / max(steps, 1)
    return log_odds[-1] + pace * (len(losses) - 1) >= 0


def _last_steps(losses: np.ndarray) -> int:
    return min(LAST_STEPS, len(losses) - 1)


def _examine(evidence: CheckEvidence) -> tuple[bool, str]:
    diagnostics = evidence.diagnostics
    n, trace = diagnostics.n, diagnostics.trace
    standing = diagnostics.withstood & ~trace.fooled.any(axis=0)
    unfinished = standing & unfinished_images(trace.losses)
    falling = int(np.sum(unfinished & falling_images(trace.losses)))
    return conclude(
        passed=wilson_interval(falling, n)[0] <= MAX_FALLING_SHARE,
        finding=f"After {diagnostics.sizes.steps} steps of PGD, the loss still rises at"
        f" {int(unfinished.sum())} of the {int(standing.sum())} images that withstand it and the attacks"
        f" of this report. At this pace, as many steps again would bring {falling} of {n:,} images to the"
        " border of a class.",
        warning="The optimisation is not finished. More steps or larger ones may fool these images:"
        " --attacks=pgd:steps=200.",
    )


OPTIMIZATION_FINISHED = Check(
    key="optimization_finished",
    name="The optimisation is finished",
    question=f"Do the last {LAST_STEPS} steps of PGD raise the loss of images that withstand it by more"
    f" than {MAX_CHANGE:.0%} of its range, so fast that as many steps again would fool them?",
    source="Pintor et al. 2022, indicator incomplete optimisation; the extrapolation is of this"
    " library, because the loss of images far from any border rises slowly for hundreds of steps",
    rule=f"the 95 % interval of the share of such images begins at {MAX_FALLING_SHARE:.0%} or below",
    examine=_examine,
    probes=("trace",),
    counts_missed=True,
)
