import pytest

from tfdefense.defenses.core.inner_attack import InnerAttackConfig, make_inner_attack


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
