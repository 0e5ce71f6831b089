import keras
import numpy as np
import pytest
import tensorflow as tf

from tests.conftest import make_toy_model
from tests.defenses.textbook import assert_same_variables, prepared
from tfdefense.defenses import APEGANPlusPlus
from tfdefense.defenses.core.adversarial_pairs import apply_fgsm, make_fgsm_pairs
from tfdefense.errors import UserError
from tfdefense.networks import losses
from tfdefense.training import LoopConfig, Replica, Trainer
from tfdefense.training.checkpoints import Checkpoints


@pytest.fixture(scope="module")
def trained(toy_model, toy_split, tmp_path_factory):
    """Defence after two epochs with seed 1, its run, and the weights of the classifier before."""
    classifier_weights = [v.numpy() for v in toy_model.weights]
    run = tmp_path_factory.mktemp("ape_gan_pp") / "run"
    return fit(toy_model, toy_split, 1, run), run, classifier_weights


def fit(toy_model, toy_split, seed, run=None):
    defense = APEGANPlusPlus(toy_model, seed=seed)
    return defense.fit(toy_split, epochs=2, batch_size=8, seed=seed, run=run)


def network_weights(defense):
    return [v.numpy() for network in (defense.generator, defense.critic) for v in network.weights]


def textbook_step(defense, batch, replica):
    """Step of the papers as two separate updates that share nothing: Gulrajani et al. (3), then equation (1)."""
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


@pytest.mark.slow
def test_a_step_is_the_textbook_step(toy_model, toy_split):
    batch = {name: tf.constant(a) for name, a in make_fgsm_pairs(toy_model, toy_split).items()}
    ours, textbook = (
        prepared(APEGANPlusPlus, toy_model, seed=3),
        prepared(APEGANPlusPlus, toy_model, seed=3),
    )
    ours.train_step(batch, Replica(0, tf.constant(0, tf.int64), 24))
    textbook_step(textbook, batch, Replica(0, tf.constant(0, tf.int64), 24))
    # After one step, Adam's first moments are the gradients; the weights show little but their signs.
    for name in ("generator_optimizer", "critic_optimizer"):
        assert_same_variables(getattr(ours, name), getattr(textbook, name), rtol=1e-3, atol=1e-6)


@pytest.mark.slow
def test_training_does_not_change_the_classifier(trained, toy_model):
    _, _, before = trained
    for variable, value in zip(toy_model.weights, before, strict=True):
        np.testing.assert_array_equal(variable, value)


@pytest.mark.slow
def test_the_seed_determines_the_weights(trained, toy_model, toy_split):
    first = network_weights(trained[0])
    again, other = (network_weights(fit(toy_model, toy_split, seed)) for seed in (1, 2))
    for a, b in zip(first, again, strict=True):
        np.testing.assert_array_equal(a, b)
    assert not np.allclose(first[0], other[0])


@pytest.mark.slow
def test_it_learns_to_remove_fgsm_perturbations(toy_model, toy_split, repeated_toy_split):
    """Purified FGSM examples are closer to the clean images and have their classes."""
    defense = APEGANPlusPlus(toy_model, strengths=(0.3,), learning_rate=2e-3)
    defense.fit(repeated_toy_split, epochs=5, batch_size=24)
    adversarial = apply_fgsm(make_fgsm_pairs(toy_model, toy_split), tf.constant(0.3))
    purified = defense.purify(adversarial)
    error = losses.mean_squared_error(toy_split.images, purified)
    assert np.mean(error) < 0.5 * np.mean(losses.mean_squared_error(toy_split.images, adversarial))
    purified_correct = np.argmax(defense.defend()(adversarial), -1) == toy_split.labels
    attacked_correct = np.argmax(toy_model(adversarial), -1) == toy_split.labels
    assert purified_correct.mean() > 0.9 > attacked_correct.mean()


def test_the_pipeline_is_differentiable(toy_model, toy_split):
    pipeline = APEGANPlusPlus(toy_model).defend()
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
        ({"schedule": "warp"}, "unknown --schedule 'warp'"),
    ],
)
def test_an_error_names_the_bad_hyperparameter(hyperparameters, message):
    with pytest.raises(UserError, match=message):
        APEGANPlusPlus(make_toy_model(), **hyperparameters)


def test_an_error_names_the_shape_of_unsuitable_images(digits):
    defense = APEGANPlusPlus(make_toy_model())
    with pytest.raises(UserError, match=r"images of \(28, 28, 1\) given, \(12, 12, 1\) is needed"):
        defense.fit(digits.train, epochs=1)


def test_a_classifier_with_softmax_is_rejected():
    model = keras.Sequential([make_toy_model(), keras.layers.Softmax()])
    with pytest.raises(UserError, match="gives probabilities"):
        APEGANPlusPlus(model)


def test_default_strengths_depend_on_the_channels(colour_classifier):
    grey = APEGANPlusPlus(make_toy_model())
    assert grey.strengths == (0.1, 0.3, 0.5, 0.7)
    assert APEGANPlusPlus(colour_classifier).strengths == (0.01, 0.03, 0.05, 0.07)


@pytest.mark.slow
def test_a_checkpoint_restores_every_variable(trained, toy_model, toy_split):
    """Networks, moving averages, Adam's moments and counters."""
    defense, run, _ = trained
    fresh = prepared(APEGANPlusPlus, toy_model, seed=2)
    assert Checkpoints(fresh.checkpoint_items(), run).restore() == 6
    items = zip(defense.checkpoint_items().values(), fresh.checkpoint_items().values(), strict=True)
    for ours, restored in items:
        assert len(ours.variables) > 0
        for a, b in zip(ours.variables, restored.variables, strict=True):
            np.testing.assert_array_equal(a, b, err_msg=a.path)
    only_networks = APEGANPlusPlus(toy_model, seed=3)
    Checkpoints(only_networks.networks(), run).restore()
    images = toy_split.images
    np.testing.assert_array_equal(only_networks.purify(images), defense.purify(images))


@pytest.mark.slow
def test_a_resumed_run_ends_with_the_weights_of_an_uninterrupted_one(
    toy_model, toy_split, tmp_path
):
    def fit_and_count(run, epochs, validations):
        defense = APEGANPlusPlus(toy_model)
        loop = LoopConfig(epochs=epochs, batch_size=8, checkpoint_seconds=0.0, steps_per_loop=1)
        defense.prepare(loop.total_steps(len(toy_split)))

        def stop():
            validations.append(1)
            if len(validations) == 2:
                raise KeyboardInterrupt
            return {}, {}

        Trainer(defense, loop, run).fit(make_fgsm_pairs(toy_model, toy_split), stop)
        return network_weights(defense)

    uninterrupted = fit_and_count(tmp_path / "a", 4, [1, 1])
    with pytest.raises(KeyboardInterrupt):
        fit_and_count(tmp_path / "b", 4, [])
    resumed = fit_and_count(tmp_path / "b", 4, [1, 1])
    for a, b in zip(uninterrupted, resumed, strict=True):
        np.testing.assert_array_equal(a, b)


def test_few_training_images_have_small_batches_and_fewer_passes(toy_split):
    loop = APEGANPlusPlus.loop_config(toy_split)
    assert (loop.epochs, loop.batch_size) == (24, 32)
    many = toy_split.select(np.arange(5_000) % len(toy_split))
    loop = APEGANPlusPlus.loop_config(many)
    assert (loop.epochs, loop.batch_size) == (64, 128)
    assert APEGANPlusPlus.loop_config(toy_split, 3, batch_size=8) == LoopConfig(3, 8)
