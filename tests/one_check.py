"""Reports with one quick check, for tests of something else. The other checks have their own tests."""

import functools

import pytest

from tfdefense.evaluation import evaluate_defense
from tfdefense.evaluation.attack_plan import AttackPlan
from tfdefense.evaluation.checks.settings import CheckSettings


def use_one_check(patch: pytest.MonkeyPatch) -> None:
    """Let `tfdefense.evaluate` run one check, until the patch is undone."""
    with_one_check = functools.partial(AttackPlan, checks=CheckSettings(("label_leaking",)))
    patch.setattr(evaluate_defense, "AttackPlan", with_one_check)
