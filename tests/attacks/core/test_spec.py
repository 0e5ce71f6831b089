import pytest

from tfdefense.attacks import APGDCE, ATTACKS, BIM, PGD, CarliniWagnerL2, DeepFool, make_attack
from tfdefense.attacks.core.spec import format_attack, parse_attack
from tfdefense.errors import UserError


@pytest.mark.parametrize(
    ("attack", "label"),
    [
        (PGD(), "pgd"),
        (PGD(epsilon=0.1), "pgd"),
        (PGD(restarts=5, steps=100), "pgd:steps=100:restarts=5"),
        (BIM(stop_at_success=True), "bim:stop_at_success=True"),
        (CarliniWagnerL2(targets="random", confidence=0.5), "cw:targets=random:confidence=0.5"),
        (DeepFool(norm="linf"), "deepfool:norm=linf"),
    ],
)
def test_label_says_what_is_not_as_usual(attack, label):
    assert format_attack(attack) == label
    assert format_attack(parse_attack(label.replace("True", "true"))) == label


@pytest.mark.parametrize("name", ATTACKS.names())
def test_every_registered_attack_comes_back(name):
    assert parse_attack(name) == make_attack(name)
    assert format_attack(make_attack(name)) == name


def test_radius_is_the_labels_or_else_the_given_one():
    assert parse_attack("apgd_ce", 0.2) == APGDCE(epsilon=0.2)
    assert parse_attack("apgd_ce:epsilon=0.1", 0.2) == APGDCE(epsilon=0.1)
    assert parse_attack("deepfool", 0.2) == DeepFool()


@pytest.mark.parametrize(
    ("label", "message"),
    [
        ("pgb", "Did you mean 'pgd'"),
        ("pgd:restart=2", "Did you mean 'restarts'"),
        ("pgd:restarts", "'restarts' given, NAME=VALUE needed"),
        ("pgd:restarts=two", "pgd:restarts=two, a number needed"),
        ("pgd:restarts=0", "restarts 0 given"),
        ("bim:stop_at_success=maybe", "true or false needed"),
        ("cw:targets=randm", "Did you mean 'random'"),
    ],
)
def test_what_cannot_be_read_is_named(label, message):
    with pytest.raises(UserError, match=message):
        parse_attack(label)
