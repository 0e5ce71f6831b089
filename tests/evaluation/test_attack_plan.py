import pytest

import tfdefense
from tests.conftest import make_toy_model
from tfdefense.attacks import (
    APGDDLR,
    APGDT,
    BIM,
    FGSM,
    PGD,
    AutoAttack,
    DeepFool,
    FGSMPredicted,
    Square,
)
from tfdefense.attacks.core.spec import format_attack
from tfdefense.cli.main import main
from tfdefense.errors import UserError
from tfdefense.evaluation import evaluate
from tfdefense.evaluation.attack_plan import (
    add_predicted_label_attacks,
    bounded_attacks,
    default_attacks,
    require_fitting,
)
from tfdefense.evaluation.protocol import EvaluationConfig


def test_every_fgsm_gets_a_neighbour_that_does_not_know_the_label():
    plain = (FGSM(epsilon=0.1), Square(epsilon=0.1))
    expected = (plain[0], FGSMPredicted(epsilon=0.1), plain[1])
    assert add_predicted_label_attacks(plain) == expected
    given = (FGSMPredicted(epsilon=0.1), FGSM(epsilon=0.1))
    assert add_predicted_label_attacks(given) == given


def test_default_attacks_are_those_that_the_number_of_classes_allows():
    names = [attack.name for attack in default_attacks(0.2, 10)]
    assert names == ["fgsm", "fgsm_predicted", "bim", "pgd", "apgd_ce", "apgd_dlr"]
    assert [attack.name for attack in default_attacks(0.2, 3)] == names
    assert [attack.name for attack in default_attacks(0.2, 2)] == names[:-1]
    assert {attack.epsilon for attack in default_attacks(0.2, 10)} == {0.2}


def test_the_help_names_the_default_attacks(capsys):
    assert main(["evaluate", "--help"]) == 0
    shown = " ".join(capsys.readouterr().out.split())
    *first, last = map(format_attack, default_attacks(0.2, 10))
    assert f"(default: {', '.join(first)} and, from three classes, {last})" in shown


def test_attack_that_needs_more_classes_is_found_before_any_attack(toy_split, toy_model):
    defense = tfdefense.defenses.BitDepth(toy_model)
    message = "--attacks=apgd_t: needs at least 4 classes; the data has 3"
    with pytest.raises(UserError, match=message):
        evaluate(defense, toy_split, [BIM(epsilon=0.1), APGDT(epsilon=0.1)])
    require_fitting([APGDDLR(), AutoAttack()], (8, 8, 1), 3)
    message = (
        "--attacks=square: needs images of at least 10x10 pixels in this norm; the data has 8x9"
    )
    for attack in (Square(norm="l2"), AutoAttack(norm="l2")):
        with pytest.raises(UserError, match=message.replace("square", attack.name)):
            require_fitting([attack], (8, 9, 1), 10)
    with pytest.raises(UserError, match="--attacks=apgd_dlr: needs at least 3 classes"):
        EvaluationConfig(attacks=("apgd_dlr",)).attacks_on(toy_split.image_shape, 2)


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
    with pytest.raises(UserError, match=r"bim given more than once.*with one radius"):
        evaluate(defense, toy_split, [BIM(epsilon=0.1), BIM(epsilon=0.2)])
    with pytest.raises(UserError, match="fgsm given more than once"):
        evaluate(defense, toy_split, [FGSM(epsilon=0.1), FGSM(epsilon=0.1)])


def test_no_neighbour_is_added_that_would_have_the_label_of_a_given_attack():
    given = (FGSM(epsilon=0.1), FGSMPredicted(epsilon=0.2))
    assert add_predicted_label_attacks(given) == given
    assert add_predicted_label_attacks(given[:1]) == (given[0], FGSMPredicted(epsilon=0.1))
