import pytest

from tfdefense.attacks import PGD
from tfdefense.defenses.core.inner_attack import (
    InnerAttackConfig,
    check_new_inner_attack,
    make_inner_attack,
    make_validation_attack,
)
from tfdefense.errors import UserError


@pytest.mark.parametrize(
    ("norm", "image_shape", "epsilon"),
    [
        ("linf", (28, 28, 1), 0.3),
        ("linf", (32, 32, 3), 8 / 255),
        ("l2", (28, 28, 1), 1.5),
        ("l2", (32, 32, 3), 0.5),
    ],
)
def test_default_epsilon_depends_on_norm_and_channels(norm, image_shape, epsilon):
    attack = make_inner_attack(InnerAttackConfig(inner_norm=norm), image_shape)
    assert attack.epsilon == epsilon


@pytest.mark.parametrize(
    "given", [{"inner_attack": "fast"}, {"inner_attack": "fgsm"}, {"inner_attack": "nfgsm"}]
)
def test_ten_steps_of_pgd_validate_a_training_with_one_step(given):
    attack = make_validation_attack(InnerAttackConfig(**given, inner_epsilon=0.2), (28, 28, 1))
    assert attack == PGD(epsilon=0.2, steps=10, relative_step_size=0.25)


def test_pgd_validates_a_training_with_pgd():
    config = InnerAttackConfig(inner_steps=4, inner_norm="l2")
    assert make_validation_attack(config, (28, 28, 1)) == make_inner_attack(config, (28, 28, 1))


@pytest.mark.parametrize(
    ("norm", "message"),
    [
        ("linf", "--inner_epsilon=0.0: above 0 and up to 1"),
        ("l2", "--inner_epsilon=0.0: more than 0"),
    ],
)
def test_only_a_new_training_needs_an_epsilon_above_0(norm, message):
    config = InnerAttackConfig(inner_norm=norm, inner_epsilon=0.0)
    with pytest.raises(UserError, match=message):
        check_new_inner_attack(config)
