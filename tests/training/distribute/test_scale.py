"""Contracts of every defence that learns: on two replicas, and in bfloat16."""

import dataclasses
import functools
import json

import keras
import numpy as np
import pytest
import tensorflow as tf

from tests.conftest import make_toy_model
from tests.graphs import eager_functions
from tfdefense.attacks import FGSM, PGD
from tfdefense.defenses import DEFENSES
from tfdefense.defenses.core.learned_defense import LearnedDefense
from tfdefense.errors import UserError
from tfdefense.evaluation.runner import ModelRunner
from tfdefense.training import Replica, Trainer

LEARNED = [name for name in DEFENSES.names() if issubclass(DEFENSES.get(name), LearnedDefense)]
FEW = {
    "apegan": {"average": 0.9},
    "adversarial_training": {"inner_steps": 2},
    "cgan": {"levels": 3},
    "defense_gan": {"code_size": 8, "search_steps": 2, "restarts": 2},
    "denoised_smoothing": {"widths": (8, 16)},
    "robust_purifier": {"inner_steps": 2, "inner_surrogate": "drawn", "widths": (8, 16)},
}

# bfloat16 keeps 8 significant bits, so one rounding changes a value by up to 2^-8 of it.
BFLOAT16_STEP = 2.0**-8
# The allowed difference of two updates in bfloat16, in roundings. Two replicas round their two
# partial gradients, where one replica rounds the whole gradient, and each layer passes the
# difference on to the layer before it. The networks here need one to ten. The kernels for CPUs also
# accumulate in bfloat16, which matters for MagNet: its networks have three filters, so most of its
# gradient is sums over all pixels. It needs 21, and 63 with AMX. A faulty reduction changes an update
# by half or more, that is by 120 roundings.
ROUNDINGS, ROUNDINGS_OF = 16, {"magnet": 90}


@dataclasses.dataclass(frozen=True)
class OneStep:
    """Results of one training step on all 24 images.

    Attributes:
      state: variable name -> value of everything that training changes.
      updates: optimizer name -> its first moments, one vector. After one step they are the gradient
        times a constant, so they show the update without Adam's division by its size.
      scalars: the logged scalars.
      logits: of the defended classifier, for four images.
      compute_dtypes: of all networks after training.
    """

    state: dict[str, np.ndarray]
    updates: dict[str, np.ndarray]
    scalars: dict[str, float]
    logits: np.ndarray
    compute_dtypes: set[str]


def fit(name, split, rates=None, **options):
    defense = DEFENSES.get(name)(make_toy_model(), **FEW.get(name, {}), **(rates or {}))
    validation = split if defense.needs_validation else None
    return defense.fit(split, epochs=1, validation=validation, steps_per_loop=2, **options)


def train_one_step(name, split, strategy, **options):
    logged = []
    run_steps = Trainer.run_steps

    def record(*arguments):
        logged.append(run_steps(*arguments))
        return logged[-1]

    # Adam's first step is the sign of the gradient. For a bias before a normalisation the gradient
    # is rounding noise. With such a small rate this noise does not change anything else.
    rates = {"learning_rate": 1e-7}
    if name == "defense_gan":
        rates["critic_learning_rate"] = 1e-7
    with pytest.MonkeyPatch.context() as patch, strategy.scope(), eager_functions():
        patch.setattr(Trainer, "run_steps", record)
        defense = fit(name, split, rates, batch_size=24, **options)
        logits = defense.defend()(split.images[:4]).numpy()
    items = defense.checkpoint_items()
    state = {
        f"{item_name} {index}": np.asarray(variable)
        for item_name, item in items.items()
        for index, variable in enumerate(item.variables)
        if variable.dtype != "uint32"  # States of random generators.
    }
    updates = {
        item_name: np.concatenate(
            [np.ravel(variable) for variable in item.variables if "momentum" in variable.path]
        )
        for item_name, item in items.items()
        if isinstance(item, keras.optimizers.Optimizer)
    }
    (scalars,) = logged
    dtypes = {network.compute_dtype for network in defense.networks().values()}
    return OneStep(state, updates, scalars, logits, dtypes)


@pytest.fixture(scope="module")
def one_step(toy_split, two_replicas, tmp_path_factory):
    """A function (name, replicas, precision) -> `OneStep`; each training runs once per module."""
    strategies = {1: tf.distribute.OneDeviceStrategy("CPU:0"), 2: two_replicas}

    @functools.cache
    def train(name, replicas=1, precision="float32"):
        run = tmp_path_factory.mktemp("runs") / "run"
        options = {"mixed_precision": precision, "run": run}
        result = train_one_step(name, toy_split, strategies[replicas], **options)
        settings = json.loads((run / "config.json").read_text())["settings"]
        assert settings["mixed_precision"] == precision
        return result

    return train


def relative_differences(updates, expected):
    """Return ||update - expected|| / ||expected|| for each optimizer."""
    assert updates.keys() == expected.keys()
    return {
        name: np.linalg.norm(updates[name] - value) / np.linalg.norm(value)
        for name, value in expected.items()
    }


@pytest.mark.slow
@pytest.mark.parametrize("name", LEARNED)
def test_two_replicas_update_as_one(one_step, name):
    """Normalisation is synchronised, gradients are summed, and random draws are split."""
    one, two = one_step(name), one_step(name, replicas=2)
    assert one.scalars.keys() == two.scalars.keys()
    for key, value in one.scalars.items():
        np.testing.assert_allclose(two.scalars[key], value, rtol=1e-3, atol=1e-5, err_msg=key)
    assert one.state.keys() == two.state.keys()
    for key, value in one.state.items():
        # Gradients of biases before a normalisation are rounding noise of up to 3e-6.
        atol = 5e-6 + 1e-4 * np.abs(value).max()
        np.testing.assert_allclose(two.state[key], value, rtol=1e-3, atol=atol, err_msg=key)


@pytest.mark.slow
@pytest.mark.parametrize("name", LEARNED)
def test_two_bfloat16_replicas_update_as_one(one_step, name):
    one, two = one_step(name, 1, "bfloat16"), one_step(name, 2, "bfloat16")
    differences = relative_differences(two.updates, one.updates)
    tolerance = ROUNDINGS_OF.get(name, ROUNDINGS) * BFLOAT16_STEP
    assert max(differences.values()) < tolerance, differences


def divide_by_local_batch(replica, values):
    return tf.reduce_sum(values) / (replica.global_batch // 2)


def drop_second_replica(replica, values):
    index = tf.distribute.get_replica_context().replica_id_in_sync_group
    share = tf.reduce_sum(values) / replica.global_batch
    return tf.where(index == 0, share, tf.stop_gradient(share))


@pytest.mark.slow
@pytest.mark.parametrize("faulty_mean", [divide_by_local_batch, drop_second_replica])
def test_a_faulty_reduction_exceeds_the_bfloat16_tolerance(
    one_step, toy_split, two_replicas, monkeypatch, faulty_mean
):
    monkeypatch.setattr(Replica, "mean", faulty_mean)
    faulty = train_one_step("apeganpp", toy_split, two_replicas, mixed_precision="bfloat16")
    monkeypatch.undo()
    expected = one_step("apeganpp", 1, "bfloat16").updates
    differences = relative_differences(faulty.updates, expected)
    assert min(differences.values()) > max(ROUNDINGS_OF.values()) * BFLOAT16_STEP, differences


@pytest.mark.slow
@pytest.mark.parametrize("name", LEARNED)
def test_bfloat16_changes_the_update_a_little_and_leaves_float32_behind(one_step, name):
    exact, rounded = one_step(name), one_step(name, 1, "bfloat16")
    assert exact.state.keys() == rounded.state.keys()
    for key, value in rounded.state.items():
        assert value.dtype == exact.state[key].dtype, key
        assert np.all(np.isfinite(value)), key
    assert rounded.compute_dtypes == {"float32"}
    assert rounded.logits.dtype == np.float32
    for key, value in exact.updates.items():
        update = rounded.updates[key]
        assert np.any(update != value), f"{key}: computed in float32"
        # Early gradients of a GAN are small sums of large terms, so single entries differ a lot.
        cosine = np.dot(update, value) / np.linalg.norm(update) / np.linalg.norm(value)
        assert cosine > 0.7, key
    # The weights are nearly equal. A pipeline that computes in bfloat16 would be off by more.
    np.testing.assert_allclose(rounded.logits, exact.logits, atol=2.0**-10)


@pytest.mark.slow
def test_two_replicas_attack_and_predict_as_one(toy_model, toy_split, two_replicas):
    attack = PGD(epsilon=0.2, steps=3)
    few = toy_split.take(7)  # An odd number, and batches of 5 and 2.

    def attack_and_predict():
        copy = keras.models.clone_model(toy_model)
        copy.set_weights(toy_model.get_weights())
        runner = ModelRunner(copy, batch_size=5)
        return runner.attack(attack, few).images, runner.predict(few)

    images, predictions = attack_and_predict()
    with two_replicas.scope():
        shared_images, shared_predictions = attack_and_predict()
        radii = tf.linspace(0.1, 0.2, 7)[:, tf.newaxis, tf.newaxis, tf.newaxis]
        result = FGSM(epsilon=radii).run(toy_model, few.images, few.labels)
    np.testing.assert_allclose(shared_images, images, atol=1e-6)
    np.testing.assert_array_equal(shared_predictions, predictions)
    assert result.images.shape == few.images.shape
    np.testing.assert_allclose(result.linf, np.linspace(0.1, 0.2, 7), atol=1e-6)


def test_an_unknown_precision_is_named(toy_split):
    with pytest.raises(UserError, match="unknown --mixed_precision 'float16'"):
        fit("apeganpp", toy_split, batch_size=8, mixed_precision="float16")
