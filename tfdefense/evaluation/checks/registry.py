"""All checks, in the order in which a report shows them."""

from collections.abc import Sequence

from tfdefense.errors import unknown_name
from tfdefense.evaluation.checks.check import Check, CheckEvidence, CheckResult
from tfdefense.utils.registry import Registry

_REGISTRY = Registry(
    "check",
    {
        "label_leaking": "tfdefense.evaluation.checks.label_leaking:LABEL_LEAKING",
        "white_box_strongest": "tfdefense.evaluation.checks.white_box_strongest:WHITE_BOX_STRONGEST",
        "square_finds_nothing": "tfdefense.evaluation.checks.square_finds_nothing:SQUARE_FINDS_NOTHING",
        "gradients_exist": "tfdefense.evaluation.checks.gradients_exist:GRADIENTS_EXIST",
        "loss_rises": "tfdefense.evaluation.checks.loss_rises:LOSS_RISES",
        "loss_stability": "tfdefense.evaluation.checks.loss_stability:LOSS_STABILITY",
        "silent_success": "tfdefense.evaluation.checks.silent_success:SILENT_SUCCESS",
        "optimization_finished": "tfdefense.evaluation.checks.optimization_finished:OPTIMIZATION_FINISHED",
        "step_size": "tfdefense.evaluation.checks.step_size:STEP_SIZE",
        "attacks_converged": "tfdefense.evaluation.checks.attacks_converged:ATTACKS_CONVERGED",
        "margin_losses": "tfdefense.evaluation.checks.margin_losses:MARGIN_LOSSES",
        "surrogate_transfer": "tfdefense.evaluation.checks.surrogate_transfer:SURROGATE_TRANSFER",
        "falls_to_chance": "tfdefense.evaluation.checks.falls_to_chance:FALLS_TO_CHANCE",
        "random_noise": "tfdefense.evaluation.checks.random_noise:RANDOM_NOISE",
        "rounding": "tfdefense.evaluation.checks.rounding:ROUNDING",
        "batch_independence": "tfdefense.evaluation.checks.batch_independence:BATCH_INDEPENDENCE",
        "repeatability": "tfdefense.evaluation.checks.repeatability:REPEATABILITY",
        "test_time_procedures": "tfdefense.evaluation.checks.test_time_procedures:TEST_TIME_PROCEDURES",
    },
)
CHECKS: tuple[Check, ...] = tuple(_REGISTRY.get(name) for name in _REGISTRY.entries)
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
