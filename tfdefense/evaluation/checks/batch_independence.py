"""Check that the logits of an image do not depend on the other images of its batch."""

from tfdefense.evaluation.checks.check import Check, CheckEvidence, conclude

MAX_LOGIT_DIFFERENCE = 1e-3


def _examine(evidence: CheckEvidence) -> tuple[bool, str]:
    changed, difference = evidence.diagnostics.batch_dependence
    return conclude(
        passed=changed == 0 and difference <= MAX_LOGIT_DIFFERENCE,
        finding=f"Alone instead of in a batch, {changed} of {evidence.diagnostics.n:,} images get another class,"
        f" and logits differ by at most {difference:.1g} of the largest logit.",
        warning="A layer does not run in inference mode.",
    )


BATCH_INDEPENDENCE = Check(
    key="batch_independence",
    name="Batches do not matter",
    question="Does the pipeline give an image the same logits alone and in a batch?",
    source="this library, whose attacks and predictions have different batch sizes",
    rule=f"no class changes, and logits differ by at most {MAX_LOGIT_DIFFERENCE:g} of the largest one",
    examine=_examine,
    probes=("single_images",),
)
