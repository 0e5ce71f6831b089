"""Check that a margin loss fools no image that cross-entropy does not."""

from tfdefense.attacks import APGDDLR, APGDT, AutoAttack, Square
from tfdefense.evaluation.checks.check import (
    MAX_EXTRA_SHARE,
    Check,
    CheckEvidence,
    conclude,
    is_few,
)


def _examine(evidence: CheckEvidence) -> tuple[bool, str]:
    diagnostics = evidence.diagnostics
    missed = diagnostics.missed_by_margin_loss
    # With two classes there is no DLR loss.
    attacks = (APGDDLR(), APGDT()) if diagnostics.num_classes > 2 else (Square(), AutoAttack())
    fitting = [each for each in attacks if each.min_classes <= diagnostics.num_classes]
    return conclude(
        passed=is_few(missed, diagnostics.n),
        finding=f"Images that withstand the attacks of this report but not PGD on the margin loss:"
        f" {missed} of {diagnostics.n:,} (2 runs of {diagnostics.sizes.steps} steps).",
        warning="The gradient of cross-entropy is lost where the pipeline is confident. Add"
        f" {' or '.join(f'--attacks={each.name}' for each in fitting)}.",
    )


MARGIN_LOSSES = Check(
    key="margin_losses",
    name="Margin losses find nothing more",
    question="Does PGD on the margin of the logits, in place of cross-entropy, fool images that the"
    " attacks of the report do not?",
    source="Carlini, Wagner 2017, loss f_6; Croce, Hein 2020, on the loss of attacks; Carlini et al."
    " 2019",
    rule=f"the 95 % interval of the share of such images begins at {MAX_EXTRA_SHARE:.0%} or below",
    examine=_examine,
    probes=("margin_loss",),
    counts_missed=True,
)
