import numpy as np
import pytest
import tensorflow as tf

from tests.defenses.textbook import assert_same_variables, log_sigmoid, prepared
from tfdefense.defenses import APEGAN
from tfdefense.defenses.core.adversarial_pairs import apply_fgsm, make_fgsm_pairs
from tfdefense.errors import UserError
from tfdefense.training import Replica
from tfdefense.training.run_directory import RunDirectory


def paper_losses(defense, batch, adversarial):
    """L_G and L_D of the paper, section 3.2.2."""
    purified = defense.generator(adversarial, training=True)
    real, fake = defense.discriminator(batch["clean"]), defense.discriminator(purified)
    discriminator = -tf.reduce_mean(log_sigmoid(real) + tf.math.log1p(-tf.sigmoid(fake)))
    squared = tf.reduce_mean(tf.square(batch["clean"] - purified))
    return 0.7 * squared - 0.3 * tf.reduce_mean(log_sigmoid(fake)), discriminator


@pytest.mark.slow
def test_a_step_updates_both_networks_on_the_papers_losses(toy_model, toy_split):
    """Gradients are compared by Adam's first moments, because one step changes weights by little more than signs."""
    batch = {name: tf.constant(a) for name, a in make_fgsm_pairs(toy_model, toy_split).items()}
    ours, textbook = (prepared(APEGAN, toy_model, seed=3) for _ in range(2))
    scalars = ours.train_step(batch, Replica(0, tf.constant(0, tf.int64), 24))
    adversarial = apply_fgsm(batch, tf.constant(textbook.strengths[0]))
    with tf.GradientTape(persistent=True) as tape:
        generator_loss, discriminator_loss = paper_losses(textbook, batch, adversarial)
    for network, loss in (("generator", generator_loss), ("discriminator", discriminator_loss)):
        variables = getattr(textbook, network).trainable_variables
        gradients = tape.gradient(loss, variables)
        getattr(textbook, f"{network}_optimizer").apply(gradients, variables)
        np.testing.assert_allclose(scalars[f"loss_{network}"], loss, rtol=1e-4)
        name = f"{network}_optimizer"
        assert_same_variables(getattr(ours, name), getattr(textbook, name), rtol=1e-2, atol=1e-5)


@pytest.mark.slow
def test_it_learns_to_purify_and_a_finished_run_is_loaded(
    toy_model, toy_split, repeated_toy_split, tmp_path
):
    given = {"strengths": (0.3,), "learning_rate": 2e-3}
    defense = APEGAN(toy_model, **given, seed=1)
    clean = toy_split.images
    error_before = np.mean(np.abs(defense.purify(clean) - clean))
    run = tmp_path / "run"
    defense.fit(repeated_toy_split, epochs=4, batch_size=8, validation=toy_split, run=run)
    assert np.mean(np.abs(defense.purify(clean) - clean)) < 0.5 * error_before
    again = APEGAN(toy_model, **given, seed=1)
    again.fit(repeated_toy_split, epochs=4, batch_size=8, run=run)
    np.testing.assert_array_equal(again.purify(clean), defense.purify(clean))
    assert RunDirectory(run).read_config().settings["defense"] == "apegan"


def test_the_result_for_an_image_does_not_depend_on_its_batch(toy_model, toy_split):
    defense = APEGAN(toy_model)
    together = defense.purify(toy_split.images[:6]).numpy()
    alone = np.concatenate([defense.purify(toy_split.images[i : i + 1]) for i in range(6)])
    np.testing.assert_allclose(together, alone, atol=1e-5)


def test_the_default_strength_depends_on_the_channels(toy_model, colour_classifier):
    assert APEGAN(toy_model).strengths == (0.3,), "the paper's"
    assert APEGAN(colour_classifier).strengths == (0.03,)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"mse_weight": -1}, "--mse_weight=-1: 0 or more"),
        ({"strengths": (2.0,)}, "--strengths: 2.0 given"),
    ],
)
def test_an_error_names_the_bad_hyperparameter(toy_model, given, message):
    with pytest.raises(UserError, match=message):
        APEGAN(toy_model, **given)
