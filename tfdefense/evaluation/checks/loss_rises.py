"""Check that gradient ascent increases the loss."""

from tfdefense.evaluation.checks.check import Check, CheckEvidence, conclude, not_checked

MIN_RISE = 1e-3
MIN_SHARE_OF_HIGHEST = 0.9


def _examine(evidence: CheckEvidence) -> tuple[bool, str]:
    if evidence.diagnostics.epsilon == 0:
        return not_checked("epsilon is 0, so PGD cannot move an image.")
    losses = evidence.diagnostics.trace.losses.mean(axis=1)
    first, last, highest = losses[0], losses[-1], losses.max()
    return conclude(
        passed=bool(last > first + MIN_RISE and last >= MIN_SHARE_OF_HIGHEST * highest),
        finding=f"Mean loss over {len(losses) - 1} PGD steps: {first:.3g} at the start, {last:.3g} at the end,"
        f" {highest:.3g} at the highest point.",
        warning="The gradients mislead the attack.",
    )


LOSS_RISES = Check(
    key="loss_rises",
    name="The loss rises",
    question="Does the mean loss increase along the steps of PGD?",
    source="Carlini et al. 2019, section 5.2",
    rule=f"the last loss is more than {MIN_RISE:g} above the first and at least"
    f" {MIN_SHARE_OF_HIGHEST:.0%} of the highest",
    examine=_examine,
    probes=("trace",),
)
