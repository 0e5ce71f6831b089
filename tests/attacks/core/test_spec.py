"""Attacks as text: formatted, parsed, and the messages for text that cannot be parsed."""

import dataclasses

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tfdefense.attacks import APGDCE, ATTACKS, BIM, PGD, CarliniWagnerL2, DeepFool, make_attack
from tfdefense.attacks.core.norms import NORMS
from tfdefense.attacks.core.spec import format_attack, is_bounded, parse_attack
from tfdefense.errors import UserError

CHOICES = {
    "box": ["projected", "tanh"],
    "saliency": ["probabilities", "logits"],
    "start": ["uniform"],
    "targets": ["random", "least_likely", "second"],
    "version": ["standard", "rand"],
}
# Valid values of every float hyperparameter. Text has six significant digits, so they have three.
RANGES = {
    "alpha_max": (0.001, 1),
    "beta": (0.001, 0.999),
    "confidence": (0, 9),
    "decay": (0.001, 9),
    "epsilon": (0, 1),
    "eta": (1, 9),
    "first_area": (0.001, 1),
    "gamma": (0.001, 1),
    "initial_const": (0.001, 9),
    "learning_rate": (0.001, 9),
    "overshoot": (0.001, 9),
    "relative_step_size": (0.001, 9),
    "resolution": (0.001, 9),
    "theta": (0.001, 1),
}


def values_of(kind, field):
    """Return a strategy for the values of a hyperparameter; its default alone if they are unknown."""
    if field.name == "norm":
        return st.sampled_from(getattr(kind, "allowed_norms", NORMS))
    if field.name in CHOICES:
        return st.sampled_from(CHOICES[field.name])
    if isinstance(field.default, bool):
        return st.booleans()
    if isinstance(field.default, int):
        return st.integers(2, 2**40)  # At least 2 candidates.
    if field.name not in RANGES:
        return st.just(field.default)
    low, high = RANGES[field.name]
    return st.integers(round(1000 * low), round(1000 * high)).map(lambda number: number / 1000)


@st.composite
def attacks(draw, name):
    kind = ATTACKS.get(name)
    return kind(**{field.name: draw(values_of(kind, field)) for field in dataclasses.fields(kind)})


@pytest.mark.parametrize("name", ATTACKS.names())
@given(data=st.data())
@settings(max_examples=25, deadline=None)
def test_parsing_the_text_of_an_attack_gives_the_attack(name, data):
    attack = data.draw(attacks(name))
    text = format_attack(attack)
    assert parse_attack(text, getattr(attack, "epsilon", None)) == attack
    assert format_attack(parse_attack(text)) == text


@pytest.mark.parametrize(
    ("attack", "text"),
    [
        (PGD(), "pgd"),
        (PGD(epsilon=0.1), "pgd"),
        (PGD(restarts=5, steps=100), "pgd:steps=100:restarts=5"),
        (BIM(stop_at_success=True), "bim:stop_at_success=True"),
        (CarliniWagnerL2(targets="random", confidence=0.5), "cw:targets=random:confidence=0.5"),
        (DeepFool(norm="linf"), "deepfool:norm=linf"),
    ],
)
def test_text_has_the_hyperparameters_that_are_not_defaults(attack, text):
    assert format_attack(attack) == text
    assert format_attack(parse_attack(text)) == text
    assert format_attack(parse_attack(text.replace("True", "true"))) == text


@pytest.mark.parametrize("name", ATTACKS.names())
def test_a_name_alone_is_the_attack_with_its_defaults(name):
    assert parse_attack(name) == make_attack(name)
    assert format_attack(make_attack(name)) == name


def test_epsilon_in_the_text_has_priority():
    assert parse_attack("apgd_ce", 0.2) == APGDCE(epsilon=0.2)
    assert parse_attack("apgd_ce:epsilon=0.1", 0.2) == APGDCE(epsilon=0.1)
    assert parse_attack("deepfool", 0.2) == DeepFool()


def test_epsilon_can_depend_on_the_norm():
    radii = {"linf": 0.2, "l2": 1.5}
    assert parse_attack("pgd", radii) == PGD(epsilon=0.2)
    assert parse_attack("pgd:norm=l2", radii) == PGD(epsilon=1.5, norm="l2")


def test_attacks_with_an_epsilon_are_bounded():
    assert is_bounded("fgsm")
    assert is_bounded("fab_t")
    assert not is_bounded("cw")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("pgb", "Did you mean 'pgd'"),
        ("pgd:restart=2", "Did you mean 'restarts'"),
        ("pgd:restarts", "'restarts' given, NAME=VALUE needed"),
        ("pgd:restarts=two", "pgd:restarts=two, a number needed"),
        ("pgd:restarts=0", "restarts 0 given"),
        ("pgd:steps=1000:steps=1", "steps given twice"),
        ("bim:stop_at_success=maybe", "true or false needed"),
        ("cw:targets=randm", "Did you mean 'random'"),
    ],
)
def test_text_that_cannot_be_parsed_is_reported(text, message):
    with pytest.raises(UserError, match=message):
        parse_attack(text)
