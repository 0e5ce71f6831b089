import pytest

import tfdefense
from tests.conftest import make_toy_model
from tfdefense.attacks import BIM, FGSM, PGD, DeepFool, FGSMPredicted, Square
from tfdefense.errors import UserError
from tfdefense.evaluation import evaluate
from tfdefense.evaluation.attack_plan import (
    add_predicted_label_attacks,
    black_box_attack,
    bounded_attacks,
    default_attacks,
)


def test_every_fgsm_gets_a_neighbour_that_does_not_know_the_label():
    plain = (FGSM(epsilon=0.1), Square(epsilon=0.1))
    expected = (plain[0], FGSMPredicted(epsilon=0.1), plain[1])
    assert add_predicted_label_attacks(plain) == expected
    given = (FGSMPredicted(epsilon=0.1), FGSM(epsilon=0.1))
    assert add_predicted_label_attacks(given) == given


def test_default_attacks_are_fgsm_bim_and_pgd():
    assert [attack.name for attack in default_attacks(0.2)] == [
        *("fgsm", "fgsm_predicted", "bim", "pgd")
    ]
    assert {attack.epsilon for attack in default_attacks(0.2)} == {0.2}


def test_black_box_attack_is_the_given_square_or_the_usual_one():
    given = Square(epsilon=0.1, queries=7)
    assert black_box_attack([PGD(), given], 0.3, 100) == given
    assert black_box_attack([PGD()], 0.3, 100) == Square(epsilon=0.3, queries=100)


def test_attacks_without_a_radius_are_not_bounded():
    attacks = [PGD(epsilon=0.1), PGD(epsilon=1.0, norm="l2"), DeepFool(norm="linf")]
    assert bounded_attacks(attacks) == attacks[:2]
    assert bounded_attacks(attacks, "linf") == attacks[:1]


def test_error_messages_name_the_bad_argument(toy_split, digits):
    defense = tfdefense.defenses.APEGANPlusPlus(make_toy_model())
    with pytest.raises(UserError, match=r"test: has images of shape \(28, 28, 1\)"):
        evaluate(defense, digits.test)
    with pytest.raises(UserError, match="at least one is needed"):
        evaluate(defense, toy_split, attacks=[])
    with pytest.raises(UserError, match="--white_box_images=0"):
        evaluate(defense, toy_split, white_box_images=0)
    with pytest.raises(UserError, match="bim given more than once"):
        evaluate(defense, toy_split, [BIM(epsilon=0.1), BIM(epsilon=0.2)])
    with pytest.raises(UserError, match="fgsm given more than once"):
        evaluate(defense, toy_split, [FGSM(epsilon=0.1), FGSM(epsilon=0.1)])
