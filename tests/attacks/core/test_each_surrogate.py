"""Attacks on models that declare several gradients: one that misleads and one that is right."""

import dataclasses

import numpy as np
import pytest
import tensorflow as tf

from tfdefense.attacks import BIM, FGSM, JSMA, DeepFool, Expectation, Square, StrongestOf, bpda
from tfdefense.attacks.core.each_surrogate import find_surrogates, surrogate_names
from tfdefense.errors import UserError
from tfdefense.networks.surrogates import use_surrogates

BACKWARDS = {"opposite": tf.negative, "right": None}


class TwoGradients:
    """Model with the values of `model`, and a gradient that is right or points the opposite way."""

    def __init__(self, model, backwards):
        self.model = model
        self.step = bpda(tf.identity, backwards)

    def __call__(self, images):
        return self.model(self.step(images))


@pytest.fixture(scope="module")
def misleading(linear):
    return TwoGradients(linear, BACKWARDS)


@pytest.fixture(scope="module")
def median_epsilon(linear, linear_images):
    """Radius within which half of the images can be misclassified."""
    return float(np.median(linear.boundary_distances(*linear_images, "linf")))


def accuracy(model, images, labels):
    return np.mean(np.argmax(model(images), 1) == labels)


def test_the_choice_of_a_model_begins_with_its_default(linear, misleading):
    shape = (10, 10, 2)
    assert find_surrogates(linear, shape) == ()
    assert find_surrogates(misleading, shape) == ("opposite", "right")
    assert find_surrogates(Expectation(misleading, 2), shape) == ("opposite", "right")
    second = bpda(tf.identity, {"smooth": None, "right": None, "rough": None})
    both = TwoGradients(lambda images: misleading(second(images)), None)
    assert find_surrogates(both, shape) == ("smooth+opposite", "right", "rough")


def test_a_fixed_gradient_is_no_choice(misleading):
    def fixed(images):
        with use_surrogates("right"):
            return misleading(images)

    compiled = tf.function(lambda images: misleading(images))
    assert find_surrogates(fixed, (10, 10, 2)) == ()
    assert find_surrogates(compiled, (10, 10, 2)) == ()
    assert find_surrogates(bpda(tf.round, {"only": None}), (10, 10, 2)) == ()


@pytest.mark.slow
@pytest.mark.parametrize("attack", [FGSM(epsilon=0.1), BIM(epsilon=0.1, stop_at_success=True)])
def test_an_attack_tries_all_surrogates(attack, misleading, linear, linear_images):
    images, labels = linear_images
    expected = attack.run(linear, images, labels)
    assert np.mean(expected.success) > 0.5
    found = attack.run(misleading, images, labels)
    np.testing.assert_array_equal(found.success, expected.success)
    np.testing.assert_allclose(found.images, attack(misleading, images, labels), atol=1e-6)
    np.testing.assert_array_equal(found.surrogate, np.where(expected.success, 1, -1))
    np.testing.assert_array_equal(expected.surrogate, -1)
    fooled = np.asarray(expected.success)
    np.testing.assert_allclose(found.images[fooled], expected.images[fooled], atol=1e-6)


@pytest.mark.slow
def test_the_names_in_use_are_part_of_the_compiled_attack(misleading, linear_images):
    images, labels = linear_images
    attack = BIM(epsilon=0.1)
    assert accuracy(misleading, attack(misleading, images, labels), labels) < 0.5
    with use_surrogates("opposite"):
        assert accuracy(misleading, attack(misleading, images, labels), labels) == 1
    with use_surrogates("right"):
        found = attack.run(misleading, images, labels)
        assert np.mean(found.success) > 0.5
        assert set(np.asarray(found.surrogate)) <= {0, -1}  # The first, and only, name in use.
    assert accuracy(misleading, attack(misleading, images, labels), labels) < 0.5


def test_an_unknown_name_is_an_error_of_one_line(misleading, linear, linear_images):
    with use_surrogates("rigth"):
        with pytest.raises(UserError, match=r"unknown surrogate.*'rigth'.*right.*opposite, right"):
            FGSM()(misleading, *linear_images)
        FGSM()(linear, *linear_images)  # It has no choice.
        assert surrogate_names(FGSM(), linear, (10, 10, 2)) == ()


@pytest.mark.slow
def test_an_image_that_is_fooled_costs_nothing_more(linear, linear_images, median_epsilon):
    images, labels = linear_images
    right_first = TwoGradients(linear, dict(reversed(BACKWARDS.items())))
    attack = BIM(epsilon=median_epsilon, steps=3, relative_step_size=1.0)
    found = attack.run(right_first, images, labels)
    fooled = np.asarray(found.success)
    assert 0 < fooled.sum() < len(fooled)
    np.testing.assert_array_equal(found.surrogate, np.where(fooled, 0, -1))
    np.testing.assert_array_equal(found.gradients, np.where(fooled, 3, 6))
    # Both gradients are tried on the others, which keep the result that is nearer to success.
    with use_surrogates("right"):
        alone = attack(right_first, images, labels)
    np.testing.assert_allclose(found.images, alone, atol=1e-6)


def test_a_radius_for_each_image_is_that_of_the_image(misleading, linear, linear_images):
    images, labels = linear_images
    factors = np.linspace(0.5, 1.5, len(images), dtype=np.float32)
    radii = factors * linear.boundary_distances(images, labels, "linf").astype(np.float32)
    attack = dataclasses.replace(FGSM(), epsilon=tf.constant(radii.reshape(-1, 1, 1, 1)))
    found = attack.run(misleading, images, labels)
    np.testing.assert_allclose(found.linf, radii, atol=1e-6)
    # FGSM reaches the nearest boundary only if the cross-entropy points there.
    assert not np.any(found.success & (factors < 1))
    assert np.any(found.success)


@pytest.mark.slow
@pytest.mark.parametrize("attack", [DeepFool(steps=20), JSMA(theta=0.02, gamma=1.0)])
def test_without_a_radius_the_smallest_success_is_kept(attack, linear, linear_images):
    images, labels = linear_images
    # The default looks at half of the pixels, so its perturbations are larger.
    half = tf.constant(np.arange(10) % 2, tf.float32)[:, None, None]
    model = TwoGradients(linear, {"half": lambda images: half * images, "right": None})
    results = {}
    for names in (("half",), ("right",), ()):
        with use_surrogates(*names):
            results[names] = attack.run(model, images, labels)
    norm = attack.minimized_norm
    sizes = [
        np.where(results[names].success, np.asarray(getattr(results[names], norm)), np.inf)
        for names in (("half",), ("right",))
    ]
    kept = results[()]
    assert np.all(kept.success)
    np.testing.assert_allclose(getattr(kept, norm), np.minimum(*sizes), rtol=1e-4)
    np.testing.assert_array_equal(kept.surrogate, np.where(sizes[1] < sizes[0], 1, 0))
    assert np.any(sizes[1] < sizes[0])


@pytest.mark.slow
def test_parts_try_all_surrogates_and_square_runs_once(misleading, linear_images, median_epsilon):
    images, labels = linear_images
    square = Square(epsilon=0.1, queries=30)
    alone = square.run(misleading, images, labels)
    np.testing.assert_array_equal(alone.surrogate, -1)
    np.testing.assert_array_less(alone.queries, 32)
    gradients = BIM(epsilon=median_epsilon, steps=2, relative_step_size=1.0)
    found = StrongestOf([gradients, square]).run(misleading, images, labels)
    first = np.asarray(gradients.run(misleading, images, labels).success)
    assert 0 < first.sum() < len(first)
    np.testing.assert_array_equal(found.surrogate, np.where(first, 1, -1))
    np.testing.assert_array_equal(found.success, first | np.asarray(alone.success))


@pytest.mark.slow
def test_an_attack_inside_a_function_of_the_caller_uses_the_default(misleading, linear_images):
    images, labels = linear_images
    attack = FGSM(epsilon=0.1)
    inside = tf.function(lambda images, labels: attack(misleading, images, labels))(images, labels)
    assert accuracy(misleading, inside, labels) == 1
    with use_surrogates("opposite"):
        np.testing.assert_array_equal(inside, attack(misleading, images, labels))
