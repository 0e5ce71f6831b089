import numpy as np
import pytest

from tfdefense.attacks import BIM, FGSM
from tfdefense.defenses import APEGAN


@pytest.mark.slow
def test_accuracies_are_those_under_grey_box_fgsm_and_bim(toy_model, toy_split):
    defense = APEGAN(toy_model, strengths=(0.1, 0.3))
    scalars, grids = defense.make_validator(toy_split)()
    assert list(scalars) == [
        *("accuracy_clean", "accuracy_fgsm_0.1", "accuracy_fgsm_0.3", "accuracy_bim_0.3"),
    ]
    images, labels = toy_split.images, toy_split.labels
    for name, attack in (("fgsm_0.1", FGSM(epsilon=0.1)), ("bim_0.3", BIM(epsilon=0.3))):
        logits = defense.defend()(attack(toy_model, images, labels))
        assert scalars[f"accuracy_{name}"] == np.mean(np.argmax(logits, -1) == labels)
    assert grids["clean_then_adversarial_and_purified"].shape == (6 * 12, 8 * 12, 1)


@pytest.mark.slow
def test_a_validation_costs_no_more_than_500_images(toy_model, toy_split):
    many = toy_split.select(np.arange(600) % len(toy_split))
    validator = APEGAN(toy_model, strengths=(0.1,)).make_validator(many)
    assert {len(array) for array in validator.fgsm_pairs.values()} == {500}
    few = APEGAN(toy_model, strengths=(0.1,)).make_validator(many.take(500))
    assert validator()[0] == few()[0]
