"""Worst case over several attacks."""

import numpy as np
import pytest

from tests.attacks.conftest import LinearModel
from tfdefense.attacks import APGDCE, APGDDLR, BIM, FGSM, Square, StrongestOf
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
