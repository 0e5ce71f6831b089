import numpy as np
import pytest
import tensorflow as tf

import tfdefense
from tests.conftest import SHAPE
from tests.defenses.textbook import assert_same_variables
from tfdefense.attacks import PGD
from tfdefense.attacks.core import per_image_random
from tfdefense.defenses import DenoisedSmoothing, get_defense_class
from tfdefense.defenses.core.randomized_smoothing import (
    ABSTAINS,
    SmoothedClassifier,
    add_noise,
    certified_radii,
)
from tfdefense.errors import UserError
from tfdefense.training import Replica

SMALL = {"widths": (4, 8), "learning_rate": 1e-2}


@pytest.mark.parametrize(("objective", "clip"), [("stability", 0.0), ("label", 0.01)])
def test_a_step_is_the_papers(toy_model, toy_split, objective, clip):
    given = {**SMALL, "objective": objective, "mse_weight": 0.3, "sigma": 0.4, "clip": clip}
    ours, textbook = (DenoisedSmoothing(toy_model, seed=3, **given) for _ in range(2))
    ours.prepare(10), textbook.prepare(10)
    batch = {"clean": tf.constant(toy_split.images), "labels": tf.constant(toy_split.labels)}
    scalars = ours.train_step(batch, Replica(0, tf.constant(4, tf.int64), 24))
    noise = Replica(0, tf.constant(4, tf.int64), 24).normal(SHAPE)
    predicted = tf.argmax(toy_model(batch["clean"]), -1, output_type=tf.int32)
    target = predicted if objective == "stability" else batch["labels"]
    with tf.GradientTape() as tape:
        denoised = textbook.generator(batch["clean"] + 0.4 * noise)
        losses = tf.nn.sparse_softmax_cross_entropy_with_logits(target, toy_model(denoised))
        loss = tf.reduce_mean(losses)
        loss += 0.3 * tf.reduce_mean(tf.square(denoised - batch["clean"]))
    variables = textbook.generator.trainable_variables
    gradients = tape.gradient(loss, variables)
    if clip:
        gradients, norm = tf.clip_by_global_norm(gradients, clip)
        assert norm > 2 * clip
    textbook.generator_optimizer.apply(gradients, variables)
    np.testing.assert_allclose(scalars["loss"], loss, rtol=1e-5)
    assert_same_variables(
        ours.generator_optimizer, textbook.generator_optimizer, rtol=2e-3, atol=1e-6
    )


def test_weight_decay_is_that_of_the_optimizer(toy_model):
    decaying, plain = (DenoisedSmoothing(toy_model, **SMALL, weight_decay=w) for w in (0.5, 0.0))
    decaying.prepare(10), plain.prepare(10)
    assert decaying.generator_optimizer.weight_decay == 0.5
    assert plain.generator_optimizer.weight_decay is None


def test_logits_of_a_confident_classifier_are_not_flat(toy_model, toy_split):
    """The probability of a class 100 below another is 0 in float32."""
    gaps = tf.constant([100.0, 0.0, 50.0])
    defense = DenoisedSmoothing(toy_model, votes=3, widths=(4, 8))
    images = tf.constant(toy_split.images[:4])
    _, logits = defense.purify_and_classify(lambda _: gaps * tf.ones([4, 1]), images)
    np.testing.assert_allclose(logits[:, 0] - logits[:, 1], 100.0, rtol=1e-5)
    np.testing.assert_allclose(logits[:, 2] - logits[:, 1], 50.0, rtol=1e-5)


@pytest.mark.parametrize("draw", [None, 7])
def test_a_draw_is_a_set_of_noisy_copies(toy_model, toy_split, draw):
    defense = DenoisedSmoothing(toy_model, seed=3, votes=2, widths=(4, 8))
    images = tf.constant(toy_split.images[:4])
    keys = per_image_random.image_keys(images, 3, draw)
    copies = [defense.generator(add_noise(images, keys, 0.25, number)) for number in range(2)]
    mean = np.mean([tf.nn.softmax(toy_model(copy)) for copy in copies], axis=0)
    purified, logits = defense.purify_and_classify(toy_model, images, draw)
    np.testing.assert_allclose(tf.exp(logits), mean, atol=1e-5)
    np.testing.assert_allclose(purified, np.mean(copies, axis=0), atol=1e-5)


@pytest.fixture(scope="module")
def trained(toy_model, toy_split, repeated_toy_split):
    defense = DenoisedSmoothing(toy_model, widths=(8, 16), learning_rate=1e-2, sigma=0.2, votes=8)
    return defense.fit(repeated_toy_split, epochs=10, batch_size=24, validation=toy_split)


@pytest.mark.slow
def test_the_pipeline_averages_probabilities_and_can_be_attacked(trained, toy_model, toy_split):
    images = tf.constant(toy_split.images[:6])
    keys = per_image_random.image_keys(images, 0)
    probabilities = [
        tf.nn.softmax(toy_model(trained.generator(add_noise(images, keys, 0.2, number))))
        for number in range(8)
    ]
    mean = np.mean(probabilities, axis=0)
    np.testing.assert_allclose(tf.exp(trained.defend()(images)), mean, atol=1e-5)
    each_alone = [trained.defend()(images[i : i + 1]) for i in range(6)]
    np.testing.assert_allclose(tf.concat(each_alone, 0), trained.defend()(images), atol=1e-4)
    attacked = PGD(epsilon=0.3, steps=3)(trained.defend(), images, toy_split.labels[:6])
    loss = tf.nn.sparse_softmax_cross_entropy_with_logits
    before = loss(toy_split.labels[:6], trained.defend()(images))
    assert np.mean(loss(toy_split.labels[:6], trained.defend()(attacked))) > np.mean(before)


@pytest.mark.slow
def test_certified_classes_do_not_change_within_the_radius(trained, toy_split):
    vote_radii = tf.constant(certified_radii(500, 0.001, 0.2))
    images, labels = tf.constant(toy_split.images), toy_split.labels
    classes, radii = trained.certify(images, vote_radii, 500)
    sure = classes.numpy() != ABSTAINS
    assert np.mean(classes.numpy()[sure] == labels[sure]) > 0.9
    assert (radii.numpy()[sure] > 0).all()
    attack = PGD(epsilon=tf.reshape(radii, [-1, 1, 1, 1]), norm="l2", steps=5)
    attacked = attack(trained.defend(), images, labels)
    again, _ = trained.certify(attacked, vote_radii, 500)
    changed = (again.numpy() != classes.numpy()) & (again.numpy() != ABSTAINS)
    assert not changed[sure].any()


def test_a_class_is_selected_and_estimated_with_different_draws(toy_model, toy_split, monkeypatch):
    counted, count_votes = [], SmoothedClassifier.count_votes

    def record(self, images, first_draw, draws):
        counted.append((first_draw, draws))
        return count_votes(self, images, first_draw, draws)

    monkeypatch.setattr(SmoothedClassifier, "count_votes", record)
    vote_radii = tf.constant(certified_radii(50, 0.001, 0.25))
    defense = DenoisedSmoothing(toy_model, widths=(4, 8))
    defense.certify(tf.constant(toy_split.images[:2]), vote_radii, 50, 20)
    assert counted == [(0, 20), (20, 50)]


@pytest.mark.slow
def test_the_exported_model_certifies(trained, toy_split, tmp_path):
    path = tfdefense.serving.export(trained, tmp_path / "export")
    signatures = tf.saved_model.load(path).signatures
    images = tf.constant(toy_split.images[:4])
    served = signatures["certify"](images)
    vote_radii = tf.constant(certified_radii(1_000, 0.001, 0.2))
    classes, radii = trained.certify(images, vote_radii, 1_000)
    np.testing.assert_array_equal(served["classes"], classes)
    np.testing.assert_allclose(served["radii"], radii)
    logits = signatures["serving_default"](images)["logits"]
    np.testing.assert_allclose(logits, trained.defend()(images), atol=1e-4)
    assert "`certify`" in (path / "model_card.md").read_text()


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"sigma": 0.0}, "--sigma=0.0: more than 0"),
        ({"votes": 0}, "--votes=0: at least 1"),
        ({"objective": "stabilty"}, "Did you mean 'stability'"),
        ({"widths": (0, 4)}, "--widths=0,4"),
        ({"mse_weight": -1.0}, "--mse_weight=-1.0"),
        ({"weight_decay": -1.0}, "--weight_decay=-1.0"),
        ({"clip": -1.0}, "--clip=-1.0"),
        ({"generator": "residal_unet"}, "Did you mean 'residual_unet'"),
        ({"generator": "residual_unet", "blocks": (1,)}, "--blocks=1: 3 numbers"),
    ],
)
def test_an_error_names_the_bad_hyperparameter(toy_model, given, message):
    with pytest.raises(UserError, match=message):
        DenoisedSmoothing(toy_model, **given)


def test_it_cannot_be_combined():
    with pytest.raises(
        UserError, match="denoised_smoothing certifies its own decisions and cannot be combined"
    ):
        get_defense_class("bit_depth+denoised_smoothing")
