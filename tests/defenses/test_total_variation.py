import numpy as np
import pytest
import scipy.optimize
import tensorflow as tf

from tfdefense.attacks.core import per_image_random
from tfdefense.classifiers import FrozenClassifier
from tfdefense.defenses import TotalVariation
from tfdefense.defenses.total_variation import minimize_objective, objective
from tfdefense.errors import UserError

RNG = np.random.default_rng(0)
SHAPE = (8, 9, 2)
IMAGES = RNG.random((4, *SHAPE)).astype(np.float32)
MASK = (RNG.random(IMAGES.shape) > 0.3).astype(np.float32)


def make(shape=(8, 9, 3), seed=0, **hyperparameters):
    classifier = FrozenClassifier(lambda images: images[:, 0, 0, :], shape)
    return TotalVariation(classifier, seed, **hyperparameters)


# Compiled, because a thousand iterations one operation at a time take seconds.
minimize = tf.function(minimize_objective, autograph=False)


def textbook_objective(flat, image, mask, weight):
    """Equation (2) for one channel, row by row and column by column."""
    z = flat.reshape(image.shape)
    total = np.sqrt(np.sum(mask * (z - image) ** 2))
    for i in range(1, z.shape[0]):
        total += weight * np.linalg.norm(z[i] - z[i - 1])
    for j in range(1, z.shape[1]):
        total += weight * np.linalg.norm(z[:, j] - z[:, j - 1])
    return total


def textbook_gradient(flat, image, mask, weight):
    """Gradient of `textbook_objective`: of a length ||v||, it is v / ||v||."""
    z = flat.reshape(image.shape)
    difference = mask * (z - image)
    gradient = difference / max(np.linalg.norm(difference), 1e-12)
    for axis in (0, 1):
        steps = np.diff(z, axis=axis)
        lengths = np.linalg.norm(steps, axis=1 - axis, keepdims=True)
        units = weight * steps / np.maximum(lengths, 1e-12)
        nothing = np.zeros_like(z[:1] if axis == 0 else z[:, :1])
        gradient -= np.diff(units, axis=axis, prepend=nothing, append=nothing)
    return gradient.ravel()


def test_the_objective_is_equation_2():
    candidates = RNG.random(IMAGES.shape).astype(np.float32)
    values = objective(candidates, IMAGES, MASK, 0.4).numpy()
    for n in range(4):
        for c in range(2):
            expected = textbook_objective(
                candidates[n, ..., c], IMAGES[n, ..., c], MASK[n, ..., c], 0.4
            )
            assert values[n, c] == pytest.approx(expected, rel=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("weight", [0.03, 0.1, 0.5])
def test_the_minimum_is_not_above_that_of_scipy(weight):
    minimum = minimize(tf.constant(IMAGES), tf.constant(MASK), weight, 1000)
    ours = objective(minimum, IMAGES, MASK, weight)
    for c in range(2):
        arguments = (IMAGES[0, ..., c], MASK[0, ..., c], weight)
        flat = IMAGES[0, ..., c].ravel().astype(float)
        gradient = scipy.optimize.approx_fprime(0.9 * flat, textbook_objective, 1e-7, *arguments)
        np.testing.assert_allclose(
            textbook_gradient(0.9 * flat, *arguments), gradient, rtol=1e-4, atol=1e-5
        )
        for _ in range(4):
            result = scipy.optimize.minimize(
                textbook_objective,
                flat,
                arguments,
                method="L-BFGS-B",
                jac=textbook_gradient,
                options={"maxfun": 40_000, "maxiter": 40_000},
            )
            flat = result.x
        assert float(ours[0, c]) <= 1.0005 * result.fun


@pytest.mark.slow
def test_more_iterations_do_not_increase_the_objective():
    values = [
        objective(minimize(tf.constant(IMAGES), tf.constant(MASK), 0.2, n), IMAGES, MASK, 0.2)
        for n in (10, 100, 1000)
    ]
    means = [float(tf.reduce_mean(value)) for value in values]
    assert means[0] > means[1] > means[2] - 1e-4


def test_without_weight_the_remaining_pixels_do_not_change():
    found = minimize_objective(tf.constant(IMAGES), tf.constant(MASK), 0.0, 20)
    np.testing.assert_allclose(found, IMAGES, atol=1e-6)


def test_a_constant_image_does_not_change():
    flat = tf.fill([2, 8, 9, 3], 0.4)
    np.testing.assert_allclose(make().purify(flat), flat, atol=1e-5)


@pytest.mark.slow
def test_the_result_for_an_image_depends_on_the_seed_and_not_on_its_batch():
    images = RNG.random((5, 8, 9, 3)).astype(np.float32)
    together = make().purify(images).numpy()
    for index in range(5):
        alone = make().purify(images[index : index + 1]).numpy()
        np.testing.assert_allclose(together[index : index + 1], alone, atol=1e-6)
    assert not np.allclose(together, make(seed=1).purify(images))
    assert together.min() >= 0
    assert together.max() <= 1


def test_fixed_randomness_is_a_function_of_image_and_seed():
    """Exports and stored figures depend on this mask."""
    images = tf.constant(RNG.random((3, 8, 9, 3)).astype(np.float32))
    keys = per_image_random.image_keys(images, 5)
    draws = per_image_random.uniform(keys, [8, 9, 3], stream=0)
    expected = minimize_objective(images, tf.cast(draws >= 0.3, tf.float32), 0.1, 4)
    fixed = make(seed=5, iterations=4)
    np.testing.assert_array_equal(fixed.purify(images), tf.clip_by_value(expected, 0, 1))
    assert not np.allclose(fixed.purify(images, 0), fixed.purify(images))


@pytest.mark.slow
def test_it_removes_noise():
    clean = np.zeros((8, 28, 28, 1), np.float32)
    clean[:, 8:20, 8:20] = 1.0
    noise = 0.2 * np.sign(RNG.standard_normal(clean.shape))
    noisy = np.clip(clean + noise, 0, 1).astype(np.float32)
    classifier = FrozenClassifier(
        lambda images: tf.reduce_mean(images, axis=(1, 3))[:, :3], (28, 28, 1)
    )
    purified = TotalVariation(classifier, tv_weight=0.2).purify(noisy)
    background, inside = np.s_[:, 1:7, 1:7], np.s_[:, 10:18, 10:18]
    for part in (background, inside):
        assert np.std(purified.numpy()[part]) < 0.3 * np.std(noisy[part])
    assert np.mean(purified.numpy()[inside]) - np.mean(purified.numpy()[background]) > 0.5


@pytest.mark.slow
def test_its_gradient_is_the_identity():
    images = tf.constant(RNG.random((2, 8, 9, 3)).astype(np.float32))
    direction = RNG.standard_normal(images.shape).astype(np.float32)
    with tf.GradientTape() as tape:
        tape.watch(images)
        total = tf.reduce_sum(make().purify(images) * direction)
    np.testing.assert_array_equal(tape.gradient(total, images), direction)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"forgotten": 1.0}, r"--forgotten=1.0: a number in \[0, 1\)"),
        ({"tv_weight": -1}, "--tv_weight=-1: 0 or more"),
        ({"iterations": 0}, "--iterations=0: at least 1"),
    ],
)
def test_an_error_names_the_bad_hyperparameter(given, message):
    with pytest.raises(UserError, match=message):
        make(**given)
