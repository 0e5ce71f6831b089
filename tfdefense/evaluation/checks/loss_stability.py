"""Check that small noise hardly changes the loss."""

from tfdefense.evaluation.checks.check import Check, CheckEvidence, conclude
from tfdefense.evaluation.checks.sizes import SMALL_NOISE_DRAWS

MAX_MEAN_CHANGE = 0.1


def _examine(evidence: CheckEvidence) -> tuple[bool, str]:
    diagnostics = evidence.diagnostics
    change = float(diagnostics.margin_change.mean())
    return conclude(
        passed=change <= MAX_MEAN_CHANGE,
        finding=f"Noise of {diagnostics.step_size:.2g}, the length of a step of PGD, changes the margin"
        f" loss by {change:.1%} on average (n = {diagnostics.n:,}, {SMALL_NOISE_DRAWS} draws).",
        warning="A gradient says little about the next step. Average gradients over noise, or rely on"
        " the square attack.",
    )


LOSS_STABILITY = Check(
    key="loss_stability",
    name="Small noise leaves the loss alone",
    question="How much does random noise of the length of one step change the loss?",
    source="Pintor et al. 2022, indicator unstable predictions; here the margin of the logits, whose"
    " relative change does not depend on how confident the pipeline is",
    rule=f"the mean relative change of the margin is at most {MAX_MEAN_CHANGE:.0%}",
    examine=_examine,
    probes=("small_noise",),
)
