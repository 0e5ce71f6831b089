"""Reports for tests that look at no check: the checks take most of the time of a small report."""

from collections.abc import Sequence

from tfdefense.attacks import Attack
from tfdefense.data import Split
from tfdefense.defenses.core.defense import Defense
from tfdefense.evaluation import AttackPlan, Report, ThreatModels
from tfdefense.evaluation.checks.settings import CheckSettings
from tfdefense.evaluation.evaluate_defense import evaluate_plan

NO_CHECKS = CheckSettings(("none",))


def evaluate_without_checks(
    defense: Defense,
    test: Split,
    attacks: Sequence[Attack],
    white_box_images: int | None = None,
    threat_models: ThreatModels | None = None,
) -> Report:
    """Return the report of `tfdefense.evaluation.evaluate` without its checks."""
    plan = AttackPlan(
        tuple(attacks), white_box_images, threat_models or ThreatModels(), checks=NO_CHECKS
    )
    return evaluate_plan(defense, test, plan)
