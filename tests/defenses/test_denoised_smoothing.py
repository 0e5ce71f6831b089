import numpy as np
import pytest
import tensorflow as tf
from scipy.stats import binomtest, norm

import tfdefense
from tests.conftest import SHAPE
from tfdefense.attacks import PGD
from tfdefense.attacks.core import per_image_random
from tfdefense.defenses import DenoisedSmoothing, get_defense_class
from tfdefense.defenses.core import randomized_smoothing
from tfdefense.errors import UserError
from tfdefense.training import Replica

SMALL = {"widths": (4, 8), "learning_rate": 1e-2}


def test_radii_are_cohens():
    """Against SciPy's exact interval: its two-sided one at twice alpha has the one-sided lower end."""
    radii = randomized_smoothing.certified_radii(200, 0.01, 0.5)
    assert radii.shape == (201,)
    for votes in (0, 1, 90, 115, 130, 199, 200):
        low = binomtest(votes, 200).proportion_ci(1 - 0.02, method="exact").low
        expected = 0.5 * norm.ppf(low) if low > 0.5 else 0.0
        np.testing.assert_allclose(radii[votes], expected, rtol=1e-5)
    assert (np.diff(radii) >= 0).all()


def test_votes_are_those_of_a_loop_in_blocks_of_any_size(monkeypatch, toy_model, toy_images):
    images = tf.constant(toy_images[:5])
    keys = per_image_random.image_keys(images, 7)
    expected = np.zeros((5, 3), int)
    for number in range(3, 43):
        noise = per_image_random.normal(keys, list(SHAPE), number)
        for row, winner in enumerate(np.argmax(toy_model(images + 0.8 * noise), -1)):
            expected[row, winner] += 1
    for block in (7, 40, 250):
        monkeypatch.setattr(randomized_smoothing, "_BLOCK", block)
        counts = randomized_smoothing.votes(toy_model, images, 0.8, 3, 40, 7, 3)
        np.testing.assert_array_equal(counts, expected)
    assert (counts.numpy().max(1) < 40).any()


def test_noise_is_gaussian_and_of_its_draw(toy_images):
    images = tf.constant(np.repeat(toy_images[:1], 2_000, axis=0))
    keys = per_image_random.image_keys(images, 0)
    noise = (randomized_smoothing.add_noise(images, keys, 0.5, tf.range(2_000)) - images).numpy()
    assert np.mean(noise) == pytest.approx(0, abs=0.01)
    assert np.std(noise) == pytest.approx(0.5, abs=0.01)
    assert abs(np.corrcoef(noise[0].ravel(), noise[1].ravel())[0, 1]) < 0.25
    assert np.mean(np.abs(noise) > 1) == pytest.approx(2 * norm.sf(2), rel=0.1)


def test_a_linear_classifier_is_certified_up_to_its_boundary(toy_images):
    """Whose distance is known: certified radii stay below it, and come near."""
    rng = np.random.default_rng(0)
    weights = rng.standard_normal(np.prod(SHAPE)).astype(np.float32)
    weights /= np.linalg.norm(weights)
    images = toy_images[:20]
    distance = images.reshape(20, -1) @ weights - 0.5

    def logits(noisy):
        margin = tf.linalg.matvec(tf.reshape(noisy, [-1, weights.size]), weights) - 0.5
        return tf.stack([-margin, margin], axis=-1)

    def certify(count):
        radii = tf.constant(randomized_smoothing.certified_radii(count, 0.001, 0.5))
        first = randomized_smoothing.votes(logits, tf.constant(images), 0.5, 0, 100, 0, 2)
        counts = randomized_smoothing.votes(logits, tf.constant(images), 0.5, 100, count, 0, 2)
        return randomized_smoothing.certify_votes(first, counts, radii)

    classes, radii = (each.numpy() for each in certify(2_000))
    sure = classes != randomized_smoothing.ABSTAINS
    assert sure.mean() > 0.7
    np.testing.assert_array_equal(classes[sure], (distance > 0)[sure])
    assert (radii <= np.abs(distance)).all()
    # 2,000 votes of one kind certify at most this much.
    reached = np.minimum(np.abs(distance), randomized_smoothing.certified_radii(2_000, 0.001, 0.5)[-1])
    assert (radii > reached - 0.12).all()
    assert (radii[~sure] == 0).all()


@pytest.mark.parametrize("objective", ["stability", "label"])
def test_step_is_the_papers(toy_model, toy_split, objective):
    given = {**SMALL, "objective": objective, "mse_weight": 0.3, "sigma": 0.4}
    ours, theirs = (DenoisedSmoothing(toy_model, seed=3, **given) for _ in range(2))
    ours.prepare(10), theirs.prepare(10)
    batch = {"clean": tf.constant(toy_split.images), "labels": tf.constant(toy_split.labels)}
    scalars = ours.train_step(batch, Replica(0, tf.constant(4, tf.int64), 24))
    noise = Replica(0, tf.constant(4, tf.int64), 24).normal(SHAPE)
    said = tf.argmax(toy_model(batch["clean"]), -1, output_type=tf.int32)
    target = said if objective == "stability" else batch["labels"]
    with tf.GradientTape() as tape:
        denoised = theirs.generator(batch["clean"] + 0.4 * noise)
        losses = tf.nn.sparse_softmax_cross_entropy_with_logits(target, toy_model(denoised))
        loss = tf.reduce_mean(losses)
        loss += 0.3 * tf.reduce_mean(tf.square(denoised - batch["clean"]))
    variables = theirs.generator.trainable_variables
    theirs.generator_optimizer.apply(tape.gradient(loss, variables), variables)
    np.testing.assert_allclose(scalars["loss"], loss, rtol=1e-5)
    mine, other = ours.generator_optimizer.variables, theirs.generator_optimizer.variables
    for a, b in zip(mine, other, strict=True):
        np.testing.assert_allclose(a, b, rtol=2e-3, atol=1e-6)


@pytest.fixture(scope="module")
def trained(toy_model, toy_split):
    defense = DenoisedSmoothing(toy_model, widths=(8, 16), learning_rate=1e-2, sigma=0.2, votes=8)
    return defense.fit(toy_split, epochs=100, batch_size=24, validation=toy_split)


def test_the_pipeline_votes_and_can_be_attacked(trained, toy_model, toy_split):
    images = tf.constant(toy_split.images[:6])
    keys = per_image_random.image_keys(images, 0)
    shares = [
        tf.nn.softmax(
            toy_model(trained.generator(randomized_smoothing.add_noise(images, keys, 0.2, number)))
        )
        for number in range(8)
    ]
    mean = np.mean(shares, axis=0)
    np.testing.assert_allclose(tf.exp(trained.defend()(images)), mean, atol=1e-5)
    each_alone = [trained.defend()(images[i : i + 1]) for i in range(6)]
    np.testing.assert_allclose(tf.concat(each_alone, 0), trained.defend()(images), atol=1e-4)
    attacked = PGD(epsilon=0.3, steps=3)(trained.defend(), images, toy_split.labels[:6])
    loss = tf.nn.sparse_softmax_cross_entropy_with_logits
    before = loss(toy_split.labels[:6], trained.defend()(images))
    assert np.mean(loss(toy_split.labels[:6], trained.defend()(attacked))) > np.mean(before)


def test_what_is_certified_withstands_attacks_within_the_radius(trained, toy_split):
    radii_of = tf.constant(randomized_smoothing.certified_radii(500, 0.001, 0.2))
    images, labels = tf.constant(toy_split.images), toy_split.labels
    classes, radii = trained.certify(images, radii_of, 500)
    sure = classes.numpy() != randomized_smoothing.ABSTAINS
    assert np.mean(classes.numpy()[sure] == labels[sure]) > 0.9
    assert (radii.numpy()[sure] > 0).all()
    attack = PGD(epsilon=tf.reshape(radii, [-1, 1, 1, 1]), norm="l2", steps=5)
    attacked = attack(trained.defend(), images, labels)
    again, _ = trained.certify(attacked, radii_of, 500)
    turned = (again.numpy() != classes.numpy()) & (again.numpy() != randomized_smoothing.ABSTAINS)
    assert not turned[sure].any()


def test_the_exported_model_certifies(trained, toy_split, tmp_path):
    path = tfdefense.serving.export(trained, tmp_path / "export")
    signatures = tf.saved_model.load(path).signatures
    images = tf.constant(toy_split.images[:4])
    served = signatures["certify"](images)
    radii_of = tf.constant(randomized_smoothing.certified_radii(1_000, 0.001, 0.2))
    classes, radii = trained.certify(images, radii_of, 1_000)
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
    ],
)
def test_bad_hyperparameters_are_named(toy_model, given, message):
    with pytest.raises(UserError, match=message):
        DenoisedSmoothing(toy_model, **given)


def test_it_stands_in_no_sequence():
    with pytest.raises(UserError, match="denoised_smoothing certifies what it decides alone"):
        get_defense_class("bit_depth+denoised_smoothing")
