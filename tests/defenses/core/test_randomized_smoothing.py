import numpy as np
import pytest
import tensorflow as tf
from scipy.stats import binomtest, norm

from tests.conftest import SHAPE
from tfdefense.attacks.core import per_image_random
from tfdefense.defenses.core import randomized_smoothing
from tfdefense.defenses.core.randomized_smoothing import (
    ABSTAINS,
    SmoothedClassifier,
    add_noise,
    certified_radii,
    certify_votes,
)
from tfdefense.errors import UserError


def test_radii_have_the_exact_binomial_bound():
    """The lower end of SciPy's two-sided interval at 2 alpha is the one-sided bound at alpha."""
    radii = certified_radii(200, 0.01, 0.5)
    assert radii.shape == (201,)
    for votes in (0, 1, 90, 115, 130, 199, 200):
        low = binomtest(votes, 200).proportion_ci(1 - 0.02, method="exact").low
        expected = 0.5 * norm.ppf(low) if low > 0.5 else 0.0
        np.testing.assert_allclose(radii[votes], expected, rtol=1e-5)
    assert (np.diff(radii) >= 0).all()


def test_votes_do_not_depend_on_the_block_size(monkeypatch, toy_model, toy_images):
    images = tf.constant(toy_images[:5])
    keys = per_image_random.image_keys(images, 7)
    expected = np.zeros((5, 3), int)
    for number in range(3, 43):
        noise = per_image_random.normal(keys, list(SHAPE), number)
        for row, winner in enumerate(np.argmax(toy_model(images + 0.8 * noise), -1)):
            expected[row, winner] += 1
    for block in (7, 40, 250):
        monkeypatch.setattr(randomized_smoothing, "_BLOCK", block)
        counts = SmoothedClassifier(toy_model, 3, 0.8, 7).count_votes(images, 3, 40)
        np.testing.assert_array_equal(counts, expected)
    assert (counts.numpy().max(1) < 40).any()


@pytest.mark.parametrize(("count", "largest"), [(4, 1_000), (96, 960), (1_200, 1_200)])
def test_many_images_get_the_same_votes_from_smaller_blocks(toy_images, count, largest):
    sizes = []

    def logits(noisy):
        sizes.append(len(noisy))
        return tf.reshape(noisy, [len(noisy), -1])[:, :3]

    smoothed = SmoothedClassifier(logits, num_classes=3, sigma=0.8, seed=7)
    draws = 250 if count == 4 else 12
    alone = [smoothed.count_votes(image[None], 0, draws)[0] for image in toy_images]
    sizes.clear()
    votes = smoothed.count_votes(tf.constant(np.resize(toy_images, (count, *SHAPE))), 0, draws)
    assert max(sizes) == largest
    assert votes.numpy().max(1).min() < draws
    np.testing.assert_array_equal(votes, np.resize(alone, (count, 3)))


def test_noise_is_gaussian_and_differs_between_draws(toy_images):
    images = tf.constant(np.repeat(toy_images[:1], 2_000, axis=0))
    keys = per_image_random.image_keys(images, 0)
    noise = (add_noise(images, keys, 0.5, tf.range(2_000)) - images).numpy()
    assert np.mean(noise) == pytest.approx(0, abs=0.01)
    assert np.std(noise) == pytest.approx(0.5, abs=0.01)
    assert abs(np.corrcoef(noise[0].ravel(), noise[1].ravel())[0, 1]) < 0.25
    assert np.mean(np.abs(noise) > 1) == pytest.approx(2 * norm.sf(2), rel=0.1)


@pytest.mark.slow
def test_a_linear_classifier_is_certified_up_to_its_boundary(toy_images):
    """The distance to its boundary is known: certified radii are below it and close to it."""
    rng = np.random.default_rng(0)
    weights = rng.standard_normal(np.prod(SHAPE)).astype(np.float32)
    weights /= np.linalg.norm(weights)
    images = toy_images[:20]
    distance = images.reshape(20, -1) @ weights - 0.5

    def logits(noisy):
        margin = tf.linalg.matvec(tf.reshape(noisy, [-1, weights.size]), weights) - 0.5
        return tf.stack([-margin, margin], axis=-1)

    def certify(count):
        radii = tf.constant(certified_radii(count, 0.001, 0.5))
        smoothed = SmoothedClassifier(logits, num_classes=2, sigma=0.5)
        selection_votes = smoothed.count_votes(tf.constant(images), 0, 100)
        estimation_votes = smoothed.count_votes(tf.constant(images), 100, count)
        return certify_votes(selection_votes, estimation_votes, radii)

    classes, radii = (each.numpy() for each in certify(2_000))
    sure = classes != ABSTAINS
    assert sure.mean() > 0.7
    np.testing.assert_array_equal(classes[sure], (distance > 0)[sure])
    assert (radii <= np.abs(distance)).all()
    # 2,000 equal votes certify at most this radius.
    largest = np.minimum(np.abs(distance), certified_radii(2_000, 0.001, 0.5)[-1])
    assert (radii > largest - 0.12).all()
    assert (radii[~sure] == 0).all()


def test_an_error_names_a_bad_alpha():
    with pytest.raises(UserError, match=r"--alpha=1\.0: a number above 0 and below 1"):
        certified_radii(10, 1.0, 0.5)
