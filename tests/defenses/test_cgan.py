import numpy as np
import pytest
import tensorflow as tf

from tests.defenses.textbook import assert_same_variables, log_sigmoid, prepared
from tfdefense.defenses import ConditionalGAN
from tfdefense.defenses.core.adversarial_pairs import apply_fgsm, make_fgsm_pairs
from tfdefense.errors import UserError
from tfdefense.training import Replica
from tfdefense.training.run_directory import RunDirectory


def discriminator_loss(defense, batch, adversarial):
    """Half of equation (7), negated, because the discriminator maximises it."""
    purified = defense.generator(adversarial, training=True)
    real = defense.discriminator(adversarial, batch["clean"], training=True)
    fake = defense.discriminator(adversarial, purified, training=True)
    return -0.5 * (
        tf.reduce_mean(log_sigmoid(real)) + tf.reduce_mean(tf.math.log1p(-tf.sigmoid(fake)))
    )


def generator_loss(defense, batch, adversarial):
    """Equation (11) with lambda = 100 and mu = 1, of (7), (8) and (10)."""
    purified = defense.generator(adversarial, training=True)
    fake = defense.discriminator(adversarial, purified, training=True)
    absolute = tf.reduce_mean(tf.abs(batch["clean"] - purified))
    classification = tf.nn.sparse_softmax_cross_entropy_with_logits(
        batch["labels"], defense.classifier(purified)
    )
    adversarial_loss = -tf.reduce_mean(log_sigmoid(fake))
    return adversarial_loss + 100 * absolute + tf.reduce_mean(classification)


def without_dropout(defense):
    for dropout in defense.generator.dropouts:
        dropout.rate = 0.0
    return defense


@pytest.mark.slow
def test_a_step_updates_both_networks_on_the_papers_losses(toy_model, toy_split):
    """Gradients are compared by Adam's first moments, because one step changes weights by little more than signs."""
    batch = {name: tf.constant(a) for name, a in make_fgsm_pairs(toy_model, toy_split).items()}
    ours, textbook = (
        without_dropout(prepared(ConditionalGAN, toy_model, seed=3)) for _ in range(2)
    )
    scalars = ours.train_step(batch, Replica(0, tf.constant(0, tf.int64), 24))
    adversarial = apply_fgsm(batch, tf.constant(textbook.strengths[0]))
    for network, loss_of in (
        ("discriminator", discriminator_loss),
        ("generator", generator_loss),
    ):
        variables = getattr(textbook, network).trainable_variables
        with tf.GradientTape() as tape:
            loss = loss_of(textbook, batch, adversarial)
        gradients = tape.gradient(loss, variables)
        getattr(textbook, f"{network}_optimizer").apply(gradients, variables)
        np.testing.assert_allclose(scalars[f"loss_{network}"], loss, rtol=1e-4)
        name = f"{network}_optimizer"
        assert_same_variables(getattr(ours, name), getattr(textbook, name), rtol=1e-2, atol=1e-5)


@pytest.mark.slow
def test_it_learns_to_purify_and_a_finished_run_is_loaded(
    toy_model, toy_split, repeated_toy_split, tmp_path
):
    given = {"levels": 2, "strengths": (0.3,), "learning_rate": 2e-3}
    defense = ConditionalGAN(toy_model, **given, seed=1)
    clean = toy_split.images
    error_before = np.mean(np.abs(defense.purify(clean) - clean))
    run = tmp_path / "run"
    defense.fit(repeated_toy_split, epochs=3, batch_size=8, validation=toy_split, run=run)
    assert np.mean(np.abs(defense.purify(clean) - clean)) < 0.5 * error_before
    again = ConditionalGAN(toy_model, **given, seed=1)
    again.fit(repeated_toy_split, epochs=3, batch_size=8, run=run)
    np.testing.assert_array_equal(again.purify(clean), defense.purify(clean))
    assert RunDirectory(run).read_config().settings["defense"] == "cgan"


@pytest.mark.slow
def test_the_result_for_an_image_does_not_depend_on_its_batch(toy_model, toy_split):
    defense = ConditionalGAN(toy_model)
    together = defense.purify(toy_split.images[:6]).numpy()
    alone = np.concatenate([defense.purify(toy_split.images[i : i + 1]) for i in range(6)])
    np.testing.assert_allclose(together, alone, atol=1e-5)


def test_the_default_strength_depends_on_the_channels(toy_model, colour_classifier):
    assert ConditionalGAN(toy_model).strengths == (0.15,), "the paper's"
    assert ConditionalGAN(colour_classifier).strengths == (0.1,)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"levels": 9}, "--levels=9: 1 to 8"),
        ({"l1_weight": -1}, "--l1_weight=-1: 0 or more"),
        ({"schedule": "step"}, "unknown --schedule 'step'"),
        ({"learning_rate": 0}, "--learning_rate=0: more than 0"),
    ],
)
def test_an_error_names_the_bad_hyperparameter(toy_model, given, message):
    with pytest.raises(UserError, match=message):
        ConditionalGAN(toy_model, **given)
