"""APE-GAN and the conditional GAN: their steps against the papers', written out."""

import numpy as np
import pytest
import tensorflow as tf

import tfdefense
from tfdefense.attacks import BIM, FGSM
from tfdefense.defenses import APEGAN, APEGANPlusPlus, ConditionalGAN
from tfdefense.defenses.core.adversarial_pairs import apply_fgsm, make_fgsm_pairs
from tfdefense.errors import UserError
from tfdefense.experiments.load import load_defense
from tfdefense.training import Replica
from tfdefense.training.run_directory import RunDirectory


def make(kind, classifier, **hyperparameters):
    defense = kind(classifier, **hyperparameters)
    defense.prepare(steps=10)
    return defense


def log_sigmoid(logits):
    return -tf.nn.softplus(-logits)


def apegan_losses(defense, batch, adversarial, training=True):
    purified = defense.generator(adversarial, training=training)
    real, fake = defense.discriminator(batch["clean"]), defense.discriminator(purified)
    discriminator = -tf.reduce_mean(log_sigmoid(real) + tf.math.log1p(-tf.sigmoid(fake)))
    squared = tf.reduce_mean(tf.square(batch["clean"] - purified))
    return 0.7 * squared - 0.3 * tf.reduce_mean(log_sigmoid(fake)), discriminator


def cgan_losses(defense, batch, adversarial, training=True):
    """Equations (7), (8), (10), (11) with lambda = 100, mu = 1."""
    purified = defense.generator(adversarial, training=training)
    real = defense.discriminator(adversarial, batch["clean"], training=training)
    fake = defense.discriminator(adversarial, purified, training=training)
    discriminator = -0.5 * (
        tf.reduce_mean(log_sigmoid(real)) + tf.reduce_mean(tf.math.log1p(-tf.sigmoid(fake)))
    )
    absolute = tf.reduce_mean(tf.abs(batch["clean"] - purified))
    losses = tf.nn.sparse_softmax_cross_entropy_with_logits(
        batch["labels"], defense.classifier(purified)
    )
    generator = -tf.reduce_mean(log_sigmoid(fake)) + 100 * absolute + tf.reduce_mean(losses)
    return generator, discriminator


def without_dropout(defense):
    for dropout in getattr(defense.generator, "dropouts", []):
        dropout.rate = 0.0


@pytest.mark.parametrize(
    ("kind", "losses", "discriminator_first"),
    [(APEGAN, apegan_losses, False), (ConditionalGAN, cgan_losses, True)],
)
def test_step_is_the_papers(toy_model, toy_split, kind, losses, discriminator_first):
    """One step's gradients, as Adam's first moments keep them."""
    batch = {name: tf.constant(a) for name, a in make_fgsm_pairs(toy_model, toy_split).items()}
    ours, theirs = make(kind, toy_model, seed=3), make(kind, toy_model, seed=3)
    without_dropout(ours), without_dropout(theirs)
    scalars = ours.train_step(batch, Replica(0, tf.constant(0, tf.int64), 24))
    adversarial = apply_fgsm(batch, tf.constant(theirs.strengths[0]))

    def update(network, which):
        variables = getattr(theirs, network).trainable_variables
        with tf.GradientTape() as tape:
            loss = losses(theirs, batch, adversarial)[which]
        gradients = tape.gradient(loss, variables)
        getattr(theirs, f"{network}_optimizer").apply(gradients, variables)
        return loss

    if discriminator_first:
        discriminator, generator = update("discriminator", 1), update("generator", 0)
    else:
        generator = update("generator", 0)
        fresh = make(kind, toy_model, seed=3)
        theirs.generator.set_weights(fresh.generator.get_weights())
        discriminator = update("discriminator", 1)
    np.testing.assert_allclose(scalars["loss_generator"], generator, rtol=1e-4)
    np.testing.assert_allclose(scalars["loss_discriminator"], discriminator, rtol=1e-4)
    for network in ("generator_optimizer", "discriminator_optimizer"):
        pairs = zip(
            getattr(ours, network).variables, getattr(theirs, network).variables, strict=True
        )
        for a, b in pairs:
            np.testing.assert_allclose(a.numpy(), b.numpy(), rtol=1e-2, atol=1e-5)


SMALL = [(APEGAN, {}), (ConditionalGAN, {"levels": 2})]


@pytest.mark.parametrize(("kind", "given"), SMALL)
def test_it_learns_to_purify(toy_model, toy_split, kind, given, tmp_path):
    given = {**given, "strengths": (0.3,), "learning_rate": 2e-3}
    defense = kind(toy_model, **given, seed=1)
    clean = toy_split.images
    before = np.mean(np.abs(defense.purify(clean) - clean))
    defense.fit(toy_split, epochs=40, batch_size=8, validation=toy_split, run=tmp_path / "run")
    after = np.mean(np.abs(defense.purify(clean) - clean))
    assert after < 0.5 * before
    again = kind(toy_model, **given, seed=7)
    again.fit(toy_split, epochs=40, batch_size=8, run=tmp_path / "run")
    np.testing.assert_array_equal(again.purify(clean), defense.purify(clean))
    assert RunDirectory(tmp_path / "run").read_config().settings["defense"] == kind.name


@pytest.mark.parametrize("kind", [APEGAN, ConditionalGAN])
def test_an_images_answer_does_not_depend_on_its_batch(toy_model, toy_split, kind):
    defense = kind(toy_model)
    together = defense.purify(toy_split.images[:6]).numpy()
    alone = np.concatenate([defense.purify(toy_split.images[i : i + 1]) for i in range(6)])
    np.testing.assert_allclose(together, alone, atol=1e-5)


@pytest.mark.parametrize(
    ("kind", "given", "message"),
    [
        (APEGAN, {"mse_weight": -1}, "--mse_weight=-1: 0 or more"),
        (APEGAN, {"strengths": (2.0,)}, "--strengths: 2.0 given"),
        (ConditionalGAN, {"levels": 9}, "--levels=9: 1 to 8 needed"),
        (ConditionalGAN, {"l1_weight": -1}, "--l1_weight=-1: 0 or more"),
        (ConditionalGAN, {"schedule": "step"}, "--schedule=step: constant or cosine"),
        (ConditionalGAN, {"learning_rate": 0}, "--learning_rate=0: more than 0"),
    ],
)
def test_bad_hyperparameters_are_named(toy_model, kind, given, message):
    with pytest.raises(UserError, match=message):
        kind(toy_model, **given)


def test_defaults_are_the_papers(toy_model):
    assert tfdefense.defenses.ConditionalGAN(toy_model).strengths == (0.15,)
    assert tfdefense.defenses.APEGAN(toy_model).strengths == (0.3,)


def test_validation_is_of_every_strength_and_of_bim(toy_model, toy_split):
    defense = APEGAN(toy_model, strengths=(0.1, 0.3))
    scalars, grids = defense.watch(toy_split)()
    assert list(scalars) == [
        *("accuracy_clean", "accuracy_fgsm_0.1", "accuracy_fgsm_0.3", "accuracy_bim_0.3"),
    ]
    images, labels = toy_split.images, toy_split.labels
    for name, attack in (("fgsm_0.1", FGSM(epsilon=0.1)), ("bim_0.3", BIM(epsilon=0.3))):
        logits = defense.defend()(attack(toy_model, images, labels))
        assert scalars[f"accuracy_{name}"] == np.mean(np.argmax(logits, -1) == labels)
    assert grids["clean_then_adversarial_and_purified"].shape == (6 * 12, 8 * 12, 1)


@pytest.mark.parametrize("kind", [APEGAN, APEGANPlusPlus, ConditionalGAN])
def test_the_average_of_the_weights_takes_their_place_at_the_end(toy_model, toy_split, kind):
    batch = {name: tf.constant(a) for name, a in make_fgsm_pairs(toy_model, toy_split).items()}
    defense = make(kind, toy_model, average=0.25)
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
def test_another_generator_learns_and_is_found_again(toy_model, toy_split, kind, given, tmp_path):
    defense = kind(toy_model, average=0.9, **given)
    defense.fit(toy_split, epochs=3, run=str(tmp_path / "run"), batch_size=8)
    assert defense.purify(toy_split.images).shape == toy_split.images.shape
    again = load_defense(RunDirectory(tmp_path / "run"))
    np.testing.assert_array_equal(again.purify(toy_split.images), defense.purify(toy_split.images))


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"generator": "u_net"}, "unknown --generator 'u_net'. Did you mean 'unet'"),
        ({"levels": 3}, "--levels=3: only --generator=unet has levels"),
        ({"generator": "unet", "levels": 9}, "--levels=9: 1 to 8 needed"),
        ({"widths": (4, 8)}, "--widths=4,8: only --generator=small_unet has widths"),
        ({"thresholds": 65}, "--thresholds=65: 0 to 64 needed"),
        ({"average": 1.0}, "--average=1.0: 0 or more and below 1 needed"),
    ],
)
@pytest.mark.parametrize("kind", [APEGAN, APEGANPlusPlus])
def test_variants_that_are_none(toy_model, kind, given, said):
    with pytest.raises(UserError, match=said):
        kind(toy_model, **given)
