import keras
import numpy as np
import pytest
import tensorflow as tf

import tfdefense
from tests.conftest import SHAPE, make_toy_model
from tfdefense.defenses.core.adversarial_pairs import make_fgsm_pairs, apply_fgsm
from tfdefense.errors import UserError
from tfdefense.networks import losses
from tfdefense.training import LoopConfig, Replica, Trainer
from tfdefense.training.checkpoints import Checkpoints


def weights(defense):
    return [v.numpy() for network in (defense.generator, defense.critic) for v in network.weights]


def make(classifier, **hyperparameters):
    defense = tfdefense.defenses.APEGANPlusPlus(classifier, **hyperparameters)
    defense.prepare(steps=10)
    return defense


def textbook_step(defense, batch, replica):
    """The step as the papers write it: two separate updates, nothing shared, nothing clever."""
    clean, labels = batch["clean"], batch["labels"]
    adversarial = apply_fgsm(batch, replica.choice(defense.strengths))
    between = replica.uniform()
    with tf.GradientTape() as tape:
        purified = defense.generator(adversarial, training=True)
        penalty = losses.gradient_penalty(defense.critic, clean, purified, between)
        loss = (
            tf.reduce_mean(defense.critic(purified))
            - tf.reduce_mean(defense.critic(clean))
            + 10.0 * tf.reduce_mean(penalty)
        )
    variables = defense.critic.trainable_variables
    defense.critic_optimizer.apply(tape.gradient(loss, variables), variables)
    with tf.GradientTape() as tape:
        purified = defense.generator(adversarial, training=True)
        logits = defense.classifier(purified)
        loss = (
            -tf.reduce_mean(defense.critic(purified))
            + 0.5 * tf.reduce_mean(tf.square(clean - purified))
            + 0.5 * tf.reduce_mean(losses.cross_entropy(labels, logits))
        )
    variables = defense.generator.trainable_variables
    defense.generator_optimizer.apply(tape.gradient(loss, variables), variables)


def test_step_is_the_textbook_step(toy_model, toy_split):
    batch = {name: tf.constant(a) for name, a in make_fgsm_pairs(toy_model, toy_split).items()}
    ours, textbook = make(toy_model, seed=3), make(toy_model, seed=3)
    ours.train_step(batch, Replica(0, tf.constant(0, tf.int64), 24))
    textbook_step(textbook, batch, Replica(0, tf.constant(0, tf.int64), 24))
    # After one step, Adam's moments are the gradients; its update has little but their signs.
    for network in ("generator_optimizer", "critic_optimizer"):
        for a, b in zip(
            getattr(ours, network).variables, getattr(textbook, network).variables, strict=True
        ):
            np.testing.assert_allclose(a, b, rtol=1e-3, atol=1e-6)


def test_classifier_is_never_changed(toy_model, toy_split):
    before = [v.numpy() for v in toy_model.weights]
    tfdefense.defenses.APEGANPlusPlus(toy_model).fit(toy_split, epochs=2, batch_size=8)
    for variable, value in zip(toy_model.weights, before, strict=True):
        np.testing.assert_array_equal(variable, value)


def test_same_seed_same_weights_and_another_seed_others(toy_model, toy_split):
    def fit(seed):
        defense = tfdefense.defenses.APEGANPlusPlus(toy_model, seed=seed)
        return weights(defense.fit(toy_split, epochs=2, batch_size=8, seed=seed))

    first, again, other = fit(1), fit(1), fit(2)
    for a, b in zip(first, again, strict=True):
        np.testing.assert_array_equal(a, b)
    assert not np.allclose(first[0], other[0])


def test_it_learns_to_undo_what_it_was_trained_on(toy_model, toy_split):
    """Purified FGSM examples come nearer to the clean images, and to their classes."""
    defense = tfdefense.defenses.APEGANPlusPlus(toy_model, strengths=(0.3,), learning_rate=2e-3)
    defense.fit(toy_split, epochs=80, batch_size=24)
    adversarial = apply_fgsm(make_fgsm_pairs(toy_model, toy_split), tf.constant(0.3))
    purified = defense.purify(adversarial)
    error = losses.mean_squared_error(toy_split.images, purified)
    assert np.mean(error) < 0.5 * np.mean(losses.mean_squared_error(toy_split.images, adversarial))
    right = np.argmax(defense.defend()(adversarial), -1) == toy_split.labels
    wrong = np.argmax(toy_model(adversarial), -1) == toy_split.labels
    assert right.mean() > 0.9 > wrong.mean()


def test_pipeline_is_differentiable(toy_model, toy_split):
    pipeline = tfdefense.defenses.APEGANPlusPlus(toy_model).defend()
    images = tf.constant(toy_split.images)
    with tf.GradientTape() as tape:
        tape.watch(images)
        loss = losses.cross_entropy(toy_split.labels, pipeline(images))
    assert np.all(np.abs(tape.gradient(loss, images)).max(axis=(1, 2, 3)) > 0)


@pytest.mark.parametrize(
    ("hyperparameters", "message"),
    [
        ({"lamda1": 1.0}, "unknown hyperparameter of apeganpp 'lamda1'. Did you mean 'lambda1'"),
        ({"lambda2": -1.0}, "--lambda2=-1.0: 0 or more"),
        ({"penalty_weight": -1.0}, "--penalty_weight"),
        ({"learning_rate": 0.0}, "--learning_rate=0.0: more than 0"),
        ({"strengths": (0.1, 3.0)}, "--strengths: 3.0 given"),
        ({"strengths": ()}, "--strengths: at least one"),
        ({"schedule": "warp"}, "--schedule=warp: constant or cosine"),
    ],
)
def test_bad_hyperparameters_are_named(hyperparameters, message):
    with pytest.raises(UserError, match=message):
        tfdefense.defenses.APEGANPlusPlus(make_toy_model(), **hyperparameters)


def test_images_of_another_shape_are_named(digits):
    defense = tfdefense.defenses.APEGANPlusPlus(make_toy_model())
    with pytest.raises(UserError, match=r"images of \(28, 28, 1\) given, \(12, 12, 1\) needed"):
        defense.fit(digits.train, epochs=1)


def test_softmax_classifier_is_refused():
    model = keras.Sequential([make_toy_model(), keras.layers.Softmax()])
    with pytest.raises(UserError, match="gives probabilities"):
        tfdefense.defenses.APEGANPlusPlus(model)


def test_default_strengths_follow_the_channels():
    grey = tfdefense.defenses.APEGANPlusPlus(make_toy_model())
    assert grey.strengths == (0.1, 0.3, 0.5, 0.7)
    shape = (*SHAPE[:2], 3)
    colour = keras.Sequential([keras.Input(shape), keras.layers.Flatten(), keras.layers.Dense(3)])
    assert tfdefense.defenses.APEGANPlusPlus(colour).strengths == (0.01, 0.03, 0.05, 0.07)


def test_checkpoint_brings_back_every_variable(toy_model, toy_split, tmp_path):
    """Networks, moving averages, moments, counters: whatever a step has changed."""
    trained = tfdefense.defenses.APEGANPlusPlus(toy_model, seed=1)
    trained.fit(toy_split, epochs=2, batch_size=8, run=tmp_path / "run")
    fresh = make(toy_model, seed=2)
    assert Checkpoints(fresh.checkpoint_items(), tmp_path / "run").restore() == 6
    items = zip(trained.checkpoint_items().values(), fresh.checkpoint_items().values(), strict=True)
    for ours, restored in items:
        assert len(ours.variables) > 0
        for a, b in zip(ours.variables, restored.variables, strict=True):
            np.testing.assert_array_equal(a, b, err_msg=a.path)
    only_networks = tfdefense.defenses.APEGANPlusPlus(toy_model, seed=3)
    Checkpoints(only_networks.networks(), tmp_path / "run").restore()
    images = toy_split.images
    np.testing.assert_array_equal(only_networks.purify(images), trained.purify(images))


def test_a_broken_run_ends_with_the_weights_of_an_unbroken_one(toy_model, toy_split, tmp_path):
    def fit(run, epochs, validations):
        defense = tfdefense.defenses.APEGANPlusPlus(toy_model)
        loop = LoopConfig(epochs=epochs, batch_size=8, checkpoint_seconds=0.0, steps_per_loop=1)
        defense.prepare(loop.total_steps(len(toy_split)))

        def stop():
            validations.append(1)
            if len(validations) == 2:
                raise KeyboardInterrupt
            return {}, {}

        Trainer(defense, loop, run).fit(make_fgsm_pairs(toy_model, toy_split), stop)
        return weights(defense)

    unbroken = fit(tmp_path / "a", 4, [1, 1])
    with pytest.raises(KeyboardInterrupt):
        fit(tmp_path / "b", 4, [])
    resumed = fit(tmp_path / "b", 4, [1, 1])
    for a, b in zip(unbroken, resumed, strict=True):
        np.testing.assert_array_equal(a, b)
