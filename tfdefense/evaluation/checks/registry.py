"""All checks, in the order in which a report shows them."""

from tfdefense.evaluation.checks.attacks_converged import ATTACKS_CONVERGED
from tfdefense.evaluation.checks.batch_independence import BATCH_INDEPENDENCE
from tfdefense.evaluation.checks.check import Check, CheckEvidence, CheckResult
from tfdefense.evaluation.checks.falls_to_chance import FALLS_TO_CHANCE
from tfdefense.evaluation.checks.gradients_exist import GRADIENTS_EXIST
from tfdefense.evaluation.checks.label_leaking import LABEL_LEAKING
from tfdefense.evaluation.checks.loss_rises import LOSS_RISES
from tfdefense.evaluation.checks.random_noise import RANDOM_NOISE
from tfdefense.evaluation.checks.step_size import STEP_SIZE
from tfdefense.evaluation.checks.white_box_strongest import WHITE_BOX_STRONGEST

CHECKS: tuple[Check, ...] = (
    LABEL_LEAKING,
    WHITE_BOX_STRONGEST,
    GRADIENTS_EXIST,
    LOSS_RISES,
    STEP_SIZE,
    ATTACKS_CONVERGED,
    FALLS_TO_CHANCE,
    RANDOM_NOISE,
    BATCH_INDEPENDENCE,
)


def run_checks(evidence: CheckEvidence) -> tuple[CheckResult, ...]:
    """Return the results of all checks."""
    return tuple(check.run(evidence) for check in CHECKS)
