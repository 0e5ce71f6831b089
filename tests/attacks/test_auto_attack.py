"""The worst case over attacks, and AutoAttack as one such set."""

import numpy as np
import pytest

from tests.attacks.conftest import Linear
from tfdefense.attacks import (
    APGDCE,
    APGDDLR,
    BIM,
    FGSM,
    AutoAttack,
    Expectation,
    Square,
    StrongestOf,
)
from tfdefense.errors import UserError


def test_an_image_falls_if_any_attack_fells_it(victim, victim_images, victim_labels):
    attacks = (FGSM(epsilon=0.15), Square(epsilon=0.15, queries=100), BIM(epsilon=0.15))
    each = [np.asarray(a.run(victim, victim_images, victim_labels).success) for a in attacks]
    together = StrongestOf(attacks).run(victim, victim_images, victim_labels)
    fell = np.asarray(together.success)
    assert np.all(fell >= np.any(each, axis=0))
    np.testing.assert_array_equal(together.images[~fell], victim_images[~fell])


def test_later_attacks_see_only_what_still_stands(victim, victim_images, victim_labels):
    first = FGSM(epsilon=0.15)
    fell = np.asarray(first.run(victim, victim_images, victim_labels).success)
    assert 0 < fell.sum() < 20
    both = StrongestOf((first, APGDCE(epsilon=0.15, steps=5)))
    queries = np.asarray(both.run(victim, victim_images, victim_labels).queries)
    np.testing.assert_array_equal(queries[fell], 3)
    assert queries[~fell].min() > 3


@pytest.mark.parametrize("classes", [2, 3, 10])
def test_auto_attack_suits_any_number_of_classes(classes):
    model = Linear(shape=(6, 6, 1), classes=classes)
    images = np.random.default_rng(0).uniform(0.4, 0.6, (8, 6, 6, 1)).astype(np.float32)
    labels = np.argmax(model.numpy(images), 1).astype(np.int32)
    names = [attack.name for attack in AutoAttack(epsilon=0.3).attacks(classes)]
    middle = {2: [], 3: ["apgd_dlr"], 10: ["apgd_t"]}[classes]
    assert names == ["apgd_ce", *middle, "fab_t", "square"]
    result = AutoAttack(epsilon=0.3).run(model, images, labels)
    assert np.asarray(result.success).all()
    assert np.asarray(result.linf).max() <= 0.3 + 1e-6


def test_too_few_classes_for_one_of_several_attacks_are_named():
    model = Linear(shape=(6, 6, 1), classes=2)
    images = np.full((2, 6, 6, 1), 0.5, np.float32)
    with pytest.raises(UserError, match="a model of 2 classes given, at least 3 needed"):
        StrongestOf((FGSM(epsilon=0.1), APGDDLR(epsilon=0.1)))(model, images, np.zeros(2, np.int32))


def test_auto_attack_leaves_what_no_attack_can_reach(linear, linear_images):
    """On a linear model the nearest boundary is known, so the robust images are too."""
    from tests.attacks.test_deepfool import nearest

    images, labels = linear_images
    distances = nearest(linear, images, labels, "linf")
    epsilon = float(np.median(distances))
    attack = AutoAttack(epsilon=epsilon)
    found = np.asarray(attack.run(linear, images, labels).success)
    np.testing.assert_array_equal(found, distances < epsilon)


def test_rand_is_for_expectations(victim, victim_images, victim_labels):
    names = [attack.name for attack in AutoAttack(version="rand").attacks(10)]
    assert names == ["apgd_ce", "apgd_dlr"]
    result = AutoAttack(epsilon=0.2, version="rand").run(
        Expectation(victim, draws=2), victim_images, victim_labels
    )
    assert np.mean(result.success) > 0.5
