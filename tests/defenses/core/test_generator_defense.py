import numpy as np
import pytest
import tensorflow as tf

from tests.defenses.textbook import prepared
from tfdefense.defenses import APEGAN, APEGANPlusPlus, ConditionalGAN
from tfdefense.defenses.core.adversarial_pairs import make_fgsm_pairs
from tfdefense.defenses.core.hyperparameters import stored_hyperparameters
from tfdefense.errors import UserError
from tfdefense.experiments.load import load_defense
from tfdefense.training import Replica
from tfdefense.training.run_directory import RunDirectory


@pytest.mark.slow
@pytest.mark.parametrize(
    "kind",
    [
        APEGAN,
        pytest.param(APEGANPlusPlus, marks=pytest.mark.slow),
        pytest.param(ConditionalGAN, marks=pytest.mark.slow),
    ],
)
def test_the_average_replaces_the_weights_after_training(toy_model, toy_split, kind):
    batch = {name: tf.constant(a) for name, a in make_fgsm_pairs(toy_model, toy_split).items()}
    defense = prepared(kind, toy_model, average=0.25)
    expected = None
    for step in range(4):
        defense.train_step(batch, Replica(0, tf.constant(step, tf.int64), 24))
        weights = [np.array(v) for v in defense.generator.trainable_variables]
        momentum = min(0.25, (1 + step) / (10 + step)) if step else 0.0
        expected = [
            momentum * before + (1 - momentum) * now
            for before, now in zip(expected or weights, weights, strict=True)
        ]
    defense.finish()
    for variable, value in zip(defense.generator.trainable_variables, expected, strict=True):
        np.testing.assert_allclose(variable, value, rtol=1e-4, atol=1e-6, err_msg=variable.path)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("kind", "given"),
    [
        (APEGAN, {"generator": "unet", "levels": 2}),
        (APEGANPlusPlus, {"generator": "unet", "levels": 2}),
        (ConditionalGAN, {"generator": "encoder_decoder"}),
        (APEGANPlusPlus, {"thresholds": 3}),
        (APEGAN, {"generator": "small_unet", "widths": (4, 8)}),
    ],
)
def test_any_generator_can_be_trained_and_loaded(toy_model, toy_split, kind, given, tmp_path):
    defense = kind(toy_model, average=0.9, **given)
    defense.fit(toy_split, epochs=1, run=str(tmp_path / "run"), batch_size=8)
    assert defense.purify(toy_split.images).shape == toy_split.images.shape
    again = load_defense(RunDirectory(tmp_path / "run"))
    np.testing.assert_array_equal(again.purify(toy_split.images), defense.purify(toy_split.images))


@pytest.mark.parametrize("kind", [APEGAN, APEGANPlusPlus, ConditionalGAN])
@pytest.mark.parametrize("given", [{}, {"widths": (16, 32)}])
def test_a_residual_unet_needs_no_blocks(toy_model, kind, given):
    defense = kind(toy_model, generator="residual_unet", **given)
    assert defense.generator.blocks == (0, *[1] * (len(defense.config.widths) - 1))
    assert "blocks" not in stored_hyperparameters(defense.config)


def test_the_default_blocks_are_the_same_setting_as_none():
    """Runs of the time when (0, 1, 1, 1) was the default did not store it."""
    given = {"generator": "residual_unet", "widths": (4, 4, 6, 8)}
    default = APEGAN.config_type(**given)
    assert APEGAN.config_type(**given, blocks=(0, 1, 1, 1)) == default
    assert APEGAN.config_type(**given, blocks=(0, 1, 1, 2)) != default


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"generator": "u_net"}, "unknown --generator 'u_net'. Did you mean 'unet'"),
        ({"levels": 3}, "--levels=3: only --generator=unet has levels"),
        ({"generator": "unet", "levels": 9}, "--levels=9: 1 to 8"),
        ({"widths": (4, 8)}, "--widths=4,8: only with --generator=small_unet or residual_unet"),
        ({"thresholds": 65}, "--thresholds=65: 0 to 64"),
        ({"average": 1.0}, "--average=1.0: 0 or more and below 1"),
    ],
)
@pytest.mark.parametrize("kind", [APEGAN, APEGANPlusPlus])
def test_an_error_names_the_bad_hyperparameter(toy_model, kind, given, message):
    with pytest.raises(UserError, match=message):
        kind(toy_model, **given)
