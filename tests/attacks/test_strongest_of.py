"""Worst case over several attacks."""

import warnings

import numpy as np
import pytest

from tests.attacks.conftest import LinearModel
from tfdefense.attacks import (
    APGDCE,
    APGDDLR,
    APGDT,
    BIM,
    FABT,
    FGSM,
    PGD,
    AutoAttack,
    Expectation,
    Square,
    StrongestOf,
)
from tfdefense.errors import UserError


@pytest.mark.slow
def test_it_succeeds_if_any_of_its_attacks_does(victim, victim_images, victim_labels):
    attacks = (FGSM(epsilon=0.15), Square(epsilon=0.15, queries=100), BIM(epsilon=0.15))
    each = [np.asarray(a.run(victim, victim_images, victim_labels).success) for a in attacks]
    together = StrongestOf(attacks).run(victim, victim_images, victim_labels)
    success = np.asarray(together.success)
    assert np.all(success >= np.any(each, axis=0))
    np.testing.assert_array_equal(together.images[~success], victim_images[~success])


@pytest.mark.slow
def test_later_attacks_get_only_images_that_withstand_the_earlier(
    victim, victim_images, victim_labels
):
    first = FGSM(epsilon=0.15)
    success = np.asarray(first.run(victim, victim_images, victim_labels).success)
    assert 0 < success.sum() < 20
    both = StrongestOf((first, APGDCE(epsilon=0.15, steps=5)))
    queries = np.asarray(both.run(victim, victim_images, victim_labels).queries)
    np.testing.assert_array_equal(queries[success], 3)
    assert queries[~success].min() > 3


def test_a_model_with_too_few_classes_for_one_attack_is_refused():
    model = LinearModel(shape=(6, 6, 1), classes=2)
    images = np.full((2, 6, 6, 1), 0.5, np.float32)
    with pytest.raises(UserError, match="a model of 2 classes given, at least 3 needed"):
        StrongestOf((FGSM(epsilon=0.1), APGDDLR(epsilon=0.1)))(model, images, np.zeros(2, np.int32))


@pytest.mark.parametrize("stop_at_success", [True, False])
def test_its_attacks_go_on_after_a_success_only_if_they_shall(stop_at_success):
    model, images = LinearModel(shape=(6, 6, 1)), np.full((2, 6, 6, 1), 0.5, np.float32)
    images[:, 0, 0] = 0.51  # Off the boundary.
    labels = np.argmax(model(images), axis=-1)
    attack = StrongestOf([BIM(epsilon=0.3, steps=7)], stop_at_success=stop_at_success)
    gradients = np.asarray(attack.run(model, images, labels).gradients)
    np.testing.assert_array_equal(gradients, 1 if stop_at_success else 7)


def test_auto_attack_on_a_randomised_model_does_not_stop_at_the_first_success():
    """In "rand" each image has all 100 steps of each draw: one on the border fools half of the draws."""
    model, images = LinearModel(shape=(6, 6, 1)), np.full((2, 6, 6, 1), 0.5, np.float32)
    images[:, 0, 0] = 0.51
    labels = np.argmax(model(images), axis=-1)
    attack = AutoAttack(epsilon=0.3, version="rand")
    assert not attack.targeted_variant(4).stop_at_success
    gradients = np.asarray(attack.run(Expectation(model, 2), images, labels).gradients)
    assert gradients.min() >= 2 * 100


def test_an_image_that_one_loss_fools_has_a_gradient():
    """The cross-entropy of a confident model has a gradient of zero; the ratio of logits has not."""
    linear, images = LinearModel(shape=(6, 6, 1)), np.full((1, 6, 6, 1), 0.6, np.float32)

    def confident(images):
        return 1_000 * linear(images)

    labels = np.argmax(linear(images), axis=-1)
    parts = APGDCE(epsilon=0.02, steps=9), APGDDLR(epsilon=0.02, steps=9)
    assert parts[0].run(confident, images, labels).no_gradient[0]
    both = StrongestOf(parts).run(confident, images, labels)
    assert both.success[0]
    assert not both.no_gradient[0]


@pytest.mark.parametrize("is_last", [True, False])
def test_an_image_that_withstands_all_has_a_gradient_if_one_loss_has_it(is_last):
    """The cross-entropy of a confident model underflows to a gradient of zero."""
    linear, images = LinearModel(shape=(6, 6, 1)), np.full((1, 6, 6, 1), 0.6, np.float32)

    def confident(images):
        return 1_000 * linear(images)

    labels = np.argmax(linear(images), axis=-1)
    blind, seeing = (each(epsilon=1e-5, steps=1) for each in (APGDCE, APGDDLR))
    parts = (blind, seeing) if is_last else (seeing, blind)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        result = StrongestOf(parts).run(confident, images, labels)
    assert not result.success[0]
    assert not result.no_gradient[0]


def test_an_image_has_no_gradient_if_all_parts_that_use_gradients_have_none():
    def confident(images):
        return 1_000 * linear(images)

    linear, images = LinearModel(shape=(6, 6, 1)), np.full((1, 6, 6, 1), 0.6, np.float32)
    labels = np.argmax(linear(images), axis=-1)
    square = StrongestOf([Square(epsilon=1e-5, queries=1)])
    assert not square.run(confident, images, labels).no_gradient[0]
    with pytest.warns(UserWarning, match="gradient is zero"):
        mixed = StrongestOf([FGSM(epsilon=1e-5), square]).run(confident, images, labels)
    assert mixed.no_gradient[0]


def test_it_takes_targets_if_all_its_parts_do():
    fit = StrongestOf((APGDCE(epsilon=0.1), FABT(epsilon=0.1)))
    targeted = fit.targeted_variant(num_classes=5)
    assert [type(attack) for attack in targeted.attacks] == [APGDCE, APGDT]


def test_it_takes_no_targets_if_one_of_its_parts_has_no_variant_that_does():
    class Untargeted(FGSM):
        takes_targets = False

    assert StrongestOf((APGDCE(epsilon=0.1), Untargeted(epsilon=0.1))).targeted_variant(5) is None


@pytest.mark.parametrize("epsilon", [1, np.float64(1.0)])
def test_radius_of_any_number_type(epsilon, victim, victim_images, victim_labels):
    parts = [each(epsilon=epsilon, norm="l2", steps=3) for each in (PGD, FABT)]
    changed = StrongestOf(parts)(victim, victim_images, victim_labels)
    assert (
        np.max(np.linalg.norm((changed - victim_images).numpy().reshape(20, -1), axis=1)) <= 1.001
    )
