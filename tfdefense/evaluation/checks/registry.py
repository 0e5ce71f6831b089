"""All checks, in the order in which a report shows them."""

from collections.abc import Sequence

from tfdefense.errors import unknown_name
from tfdefense.evaluation.checks.attacks_converged import ATTACKS_CONVERGED
from tfdefense.evaluation.checks.batch_independence import BATCH_INDEPENDENCE
from tfdefense.evaluation.checks.check import Check, CheckEvidence, CheckResult
from tfdefense.evaluation.checks.falls_to_chance import FALLS_TO_CHANCE
from tfdefense.evaluation.checks.gradients_exist import GRADIENTS_EXIST
from tfdefense.evaluation.checks.label_leaking import LABEL_LEAKING
from tfdefense.evaluation.checks.loss_rises import LOSS_RISES
from tfdefense.evaluation.checks.loss_stability import LOSS_STABILITY
from tfdefense.evaluation.checks.margin_losses import MARGIN_LOSSES
from tfdefense.evaluation.checks.optimization_finished import OPTIMIZATION_FINISHED
from tfdefense.evaluation.checks.random_noise import RANDOM_NOISE
from tfdefense.evaluation.checks.repeatability import REPEATABILITY
from tfdefense.evaluation.checks.rounding import ROUNDING
from tfdefense.evaluation.checks.silent_success import SILENT_SUCCESS
from tfdefense.evaluation.checks.square_finds_nothing import SQUARE_FINDS_NOTHING
from tfdefense.evaluation.checks.step_size import STEP_SIZE
from tfdefense.evaluation.checks.surrogate_transfer import SURROGATE_TRANSFER
from tfdefense.evaluation.checks.test_time_procedures import TEST_TIME_PROCEDURES
from tfdefense.evaluation.checks.white_box_strongest import WHITE_BOX_STRONGEST

CHECKS: tuple[Check, ...] = (
    LABEL_LEAKING,
    WHITE_BOX_STRONGEST,
    SQUARE_FINDS_NOTHING,
    GRADIENTS_EXIST,
    LOSS_RISES,
    LOSS_STABILITY,
    SILENT_SUCCESS,
    OPTIMIZATION_FINISHED,
    STEP_SIZE,
    ATTACKS_CONVERGED,
    MARGIN_LOSSES,
    SURROGATE_TRANSFER,
    FALLS_TO_CHANCE,
    RANDOM_NOISE,
    ROUNDING,
    BATCH_INDEPENDENCE,
    REPEATABILITY,
    TEST_TIME_PROCEDURES,
)
ALL, FAST, NONE = "all", "fast", "none"


def select_checks(names: Sequence[str]) -> tuple[Check, ...]:
    """Return checks in their order in a report.

    Args:
      names: "all", "fast" (those that need no more than one run of PGD), "none", or keys of checks.

    Raises:
      UserError: an unknown name.
    """
    keys = [check.key for check in CHECKS]
    for name in names:
        if name not in (ALL, FAST, NONE, *keys):
            raise unknown_name("--checks", name, (ALL, FAST, NONE, *keys))
    return tuple(
        check
        for check in CHECKS
        if ALL in names or (FAST in names and check.is_fast) or check.key in names
    )


def run_checks(checks: Sequence[Check], evidence: CheckEvidence) -> tuple[CheckResult, ...]:
    """Return the results of checks."""
    return tuple(check.run(evidence) for check in checks)
