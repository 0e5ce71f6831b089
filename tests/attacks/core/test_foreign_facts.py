"""Radius of attacks of other libraries."""

import pytest

from tfdefense.attacks.core.foreign_facts import AttackFacts
from tfdefense.errors import UserError

BOUNDED = AttackFacts("l2", needs_radius=True, accepts_radius=True, takes_targets=False)
MINIMAL = AttackFacts("l2", needs_radius=False, accepts_radius=True, takes_targets=False)
WITHOUT = AttackFacts("none", needs_radius=False, accepts_radius=False, takes_targets=False)


def test_a_radius_is_given_or_the_usual_one_or_none():
    assert BOUNDED.check_radius(2.0, "x:y") == 2.0
    assert BOUNDED.check_radius(None, "x:y") == 1.5
    assert MINIMAL.check_radius(None, "x:y") is None
    assert MINIMAL.check_radius(2.0, "x:y") == 2.0
    assert WITHOUT.check_radius(None, "x:y") is None


def test_epsilon_is_a_radius_only_for_attacks_that_may_have_one():
    values = {"epsilon": 0.5, "steps": 3}
    assert WITHOUT.take_radius(values, "x:y") is None
    assert values == {"epsilon": 0.5, "steps": 3}
    assert MINIMAL.take_radius(values, "x:y") == 0.5
    assert values == {"steps": 3}


@pytest.mark.parametrize(
    ("facts", "epsilon", "message"),
    [
        (WITHOUT, 0.1, "x:y: epsilon given, but this attack has no radius"),
        (BOUNDED, -1.0, "epsilon -1 given, a number of 0 or more needed"),
        (BOUNDED._replace(norm="linf"), 2.0, r"epsilon 2 given, a number in \[0, 1\] needed"),
        (BOUNDED._replace(norm="l1"), None, "epsilon, the radius in l1, is needed"),
    ],
)
def test_a_wrong_radius_is_refused(facts, epsilon, message):
    with pytest.raises(UserError, match=message):
        facts.check_radius(epsilon, "x:y")


@pytest.mark.parametrize("epsilon", [True, "small", None])
def test_a_radius_is_a_number(epsilon):
    values = {"epsilon": epsilon}
    if epsilon is None:
        assert BOUNDED.take_radius(values, "x:y") is None
    else:
        with pytest.raises(UserError, match=f"x:y: epsilon={epsilon}, a number needed"):
            BOUNDED.take_radius(values, "x:y")
