import pytest

from tests.conftest import SHAPE
from tfdefense.attacks import default_epsilon
from tfdefense.data import Dataset
from tfdefense.defenses import BitDepth, get_defense_class
from tfdefense.errors import UserError
from tfdefense.evaluation.protocol import EvaluationConfig


def test_default_epsilon_follows_the_channels():
    assert default_epsilon((28, 28, 1)) == 0.3
    assert default_epsilon((32, 32, 3)) == pytest.approx(8 / 255)


def test_each_norm_has_its_usual_radius_unless_one_is_given():
    config = EvaluationConfig(attacks=("pgd:steps=2", "pgd:steps=2:norm=l2", "fgsm:epsilon=0.1"))
    assert [attack.epsilon for attack in config.attacks_on(SHAPE, 3)] == [0.3, 1.5, 0.1]
    assert [attack.epsilon for attack in config.attacks_on((32, 32, 3), 10)] == [8 / 255, 0.5, 0.1]
    given = EvaluationConfig(attacks=("pgd:norm=l2",), epsilon=0.7).attacks_on(SHAPE, 3)
    assert given[0].epsilon == 0.7


def test_settings_are_those_that_report_json_stores():
    config = EvaluationConfig(attacks=("fgsm",), images=20)
    assert config.settings() == {
        "epsilon": None,
        "attacks": ["fgsm"],
        "images": 20,
        "white_box_images": None,
        "threat_models": ["grey_box", "white_box"],
        "source": None,
        "fooled_only": False,
        "checks": ["all"],
        "check_images": None,
        "eot_draws": None,
        "resubmissions": None,
        "surrogates": ["all"],
    }


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"epsilon": 1.5}, r"--epsilon=1.5: a number in \[0, 1\]"),
        ({"attacks": ()}, "--attacks: none given"),
        ({"attacks": ("fgms",)}, "Did you mean 'fgsm'"),
        ({"images": 0}, "--images=0: at least 1"),
        ({"white_box_images": 0}, "--white_box_images=0: at least 1"),
        ({"white_box_images": "all"}, "--white_box_images=all: at least 1"),
        ({"checks": ("evrything",)}, "unknown --checks 'evrything'"),
        ({"check_images": 0}, "--check_images=0: at least 1"),
        ({"eot_draws": 0}, "--eot_draws=0: at least 1"),
        ({"resubmissions": -1}, "--resubmissions=-1: at least 1"),
        ({"source": "lenet"}, "--source=lenet: needs transfer"),
        ({"threat_models": ("white_box", "transfer")}, "needs --source"),
    ],
)
def test_bad_values_are_named(given, message):
    with pytest.raises(UserError, match=message):
        EvaluationConfig(**given)


@pytest.mark.parametrize("given", [{"eot_draws": 5}, {"resubmissions": 5}])
def test_a_number_of_draws_needs_a_randomised_defence(given):
    config = EvaluationConfig(**given)
    config.require_usable_on(get_defense_class("total_variation"))
    config.require_usable_on(get_defense_class("bit_depth+total_variation"))
    with pytest.raises(UserError, match="=5: bit_depth draws no random numbers"):
        config.require_usable_on(get_defense_class("bit_depth"))


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"check_images": 25}, "--check_images=25: the report has 24 white-box images"),
        ({"check_images": 9, "white_box_images": 8}, "--check_images=9: the report has 8"),
        ({"attacks": ("pgd", "pgd:epsilon=0.2")}, "attacks: pgd given more than once"),
        ({"attacks": ("fgsm",) * 2}, "attacks: fgsm given more than once"),
    ],
)
def test_what_does_not_suit_the_images_is_found_before_training(given, message, toy_split):
    with pytest.raises(UserError, match=message):
        EvaluationConfig(**given).require_usable_with(toy_split)


def test_usual_settings_suit_the_images(toy_split):
    EvaluationConfig(check_images=24).require_usable_with(toy_split)
    EvaluationConfig(images="all").require_usable_with(toy_split)


@pytest.mark.parametrize(
    ("attack", "epsilon", "radius"),
    [("deepfool", None, 0.3), ("deepfool", 0.1, 0.1), ("pgd:norm=l2", 0.1, 0.3)],
)
def test_epsilon_is_that_of_checks_unless_an_attack_has_a_radius(
    attack, epsilon, radius, toy_model, toy_split
):
    data = Dataset("toy", toy_split, toy_split, toy_split)
    plan = EvaluationConfig(attacks=(attack,), epsilon=epsilon).attack_plan(data)
    assert plan.completed(BitDepth(toy_model), toy_split).epsilon == radius
