"""What every defence that learns must do alike: on two replicas, and in bfloat16."""

import json

import keras
import numpy as np
import pytest
import tensorflow as tf

from tests.conftest import make_toy_model
from tfdefense.attacks import FGSM, PGD
from tfdefense.defenses import DEFENSES
from tfdefense.defenses.core.learned_defense import LearnedDefense
from tfdefense.errors import UserError
from tfdefense.evaluation.runner import ModelRunner
from tfdefense.training.run_directory import RunDirectory
from tfdefense.training.trainer import Trainer

LEARNED = [name for name in DEFENSES.names() if issubclass(DEFENSES.get(name), LearnedDefense)]
FEW = {
    "apegan": {"average": 0.9},
    "adversarial_training": {"inner_steps": 2},
    "cgan": {"levels": 3},
    "defense_gan": {"code_size": 8, "search_steps": 2, "restarts": 2},
}


def trained(name, split, batch_size=8, rates=None, **given):
    """After a pass over the images of `split`."""
    defense = DEFENSES.get(name)(make_toy_model(), **FEW.get(name, {}), **(rates or {}))
    validation = split if defense.needs_validation else None
    return defense.fit(split, 1, validation, batch_size=batch_size, steps_per_loop=2, **given)


def state(defense):
    """Name -> value of all that training changes."""
    return {
        f"{name} {index}": np.asarray(variable)
        for name, item in defense.checkpoint_items().items()
        for index, variable in enumerate(item.variables)
        if variable.dtype != "uint32"  # States of random generators.
    }


@pytest.mark.parametrize("name", LEARNED)
def test_two_replicas_update_as_one(toy_split, two_replicas, name, monkeypatch):
    """Same weights, data and draws: synchronised norms, summed gradients, split randomness; and the same is logged."""
    logged = []
    run = Trainer.run_steps

    def recorded(*given):
        scalars = run(*given)
        logged.append(dict(scalars))  # Before the rate at which it ran joins them.
        return scalars

    monkeypatch.setattr(Trainer, "run_steps", recorded)
    # Adam's first step has little but the gradient's sign, which for a bias before a normalisation is that of
    # rounding: so small a step that it does not matter to what comes after, and Adam's moments are compared.
    rates = {"learning_rate": 1e-7}
    if name == "defense_gan":
        rates["critic_learning_rate"] = 1e-7
    with tf.distribute.OneDeviceStrategy("CPU:0").scope():
        one = state(trained(name, toy_split, 24, rates))
    with two_replicas.scope():
        half = len(logged)
        two = state(trained(name, toy_split, 24, rates))
    for scalars, shared in zip(logged[:half], logged[half:], strict=True):
        assert any("gradient_norm" in key for key in scalars)
        for key, value in scalars.items():
            np.testing.assert_allclose(shared[key], value, rtol=1e-3, atol=1e-5, err_msg=key)
    assert one.keys() == two.keys()
    for key, value in one.items():
        least = 1e-6 + 1e-4 * np.abs(value).max()
        np.testing.assert_allclose(two[key], value, rtol=1e-3, atol=least, err_msg=key)


def test_two_replicas_attack_and_ask_as_one(toy_model, toy_split, two_replicas):
    attack = PGD(epsilon=0.2, steps=3)
    few = toy_split.take(7)  # An odd number, and batches of 5 and 2.

    def judged():
        model = ModelRunner(make_toy_model_like(toy_model), batch_size=5)
        return model.attack(attack, few).images, model.predict(few)

    images, predicted = judged()
    with two_replicas.scope():
        shared, answers = judged()
        radii = tf.linspace(0.1, 0.2, 7)[:, tf.newaxis, tf.newaxis, tf.newaxis]
        result = FGSM(epsilon=radii).run(toy_model, few.images, few.labels)
    np.testing.assert_allclose(shared, images, atol=1e-6)
    np.testing.assert_array_equal(answers, predicted)
    assert result.images.shape == few.images.shape
    np.testing.assert_allclose(result.linf, np.linspace(0.1, 0.2, 7), atol=1e-6)


def make_toy_model_like(model):
    copy = keras.models.clone_model(model)
    copy.set_weights(model.get_weights())
    return copy


@pytest.mark.parametrize("name", LEARNED)
def test_bfloat16_trains_almost_the_same_and_leaves_float32(toy_split, tmp_path, name):
    exact = trained(name, toy_split)
    run = tmp_path / "run"
    rough = trained(name, toy_split, mixed_precision="bfloat16", run=run)
    assert json.loads(RunDirectory(run).config_path.read_text())["settings"]["mixed_precision"] == "bfloat16"
    before, after = state(exact), state(rough)
    assert before.keys() == after.keys()
    assert any(np.any(before[key] != after[key]) for key in before), "computed in float32"
    for key, value in after.items():
        assert value.dtype == before[key].dtype, key
        assert np.all(np.isfinite(value)), key
    images = toy_split.images[:4]
    for layer in rough.networks().values():
        assert layer.compute_dtype == "float32"
    outputs = [each.defend()(images).numpy() for each in (exact, rough)]
    assert outputs[1].dtype == np.float32
    np.testing.assert_allclose(*outputs, atol=0.2)


def test_an_unknown_precision_is_named(toy_split):
    with pytest.raises(UserError, match="unknown --mixed_precision 'float16'"):
        trained("apeganpp", toy_split, mixed_precision="float16")
