"""Check that the same image has the same logits twice."""

from tfdefense.evaluation.checks.check import Check, CheckEvidence, conclude

MAX_LOGIT_DIFFERENCE = 1e-4


def _examine(evidence: CheckEvidence) -> tuple[bool, str]:
    changed, difference = evidence.diagnostics.repetition
    return conclude(
        passed=changed == 0 and difference <= MAX_LOGIT_DIFFERENCE,
        finding=f"In a second call, {changed} of {evidence.diagnostics.n:,} images get another class, and"
        f" logits differ by at most {difference:.1g} of the largest logit.",
        warning="The pipeline draws random numbers, and an attack that sees one draw says little."
        " Attack its mean over draws (attacks.Expectation), and count resubmissions.",
    )


REPEATABILITY = Check(
    key="repeatability",
    name="The same image has the same logits",
    question="Does the pipeline give an image the same logits in a second call?",
    source="Athalye et al. 2018, section 3 (stochastic gradients); AutoAttack (Croce, Hein 2020), whose"
    " program asks the same; Carlini et al. 2019",
    rule=f"no class changes, and logits differ by at most {MAX_LOGIT_DIFFERENCE:g} of the largest one",
    examine=_examine,
    probes=("repeats",),
)
