import numpy as np

from tfdefense.attacks import FGSM
from tfdefense.defenses.core.robust_validator import make_robust_validator


def test_accuracies_are_those_on_clean_and_on_attacked_images(toy_model, toy_split):
    attack = FGSM(epsilon=0.3)
    scalars, grids = make_robust_validator(toy_model, attack, toy_split)()
    attacked = attack(toy_model, toy_split.images, toy_split.labels)
    clean, robust = (
        np.mean(np.argmax(toy_model(images), -1) == toy_split.labels)
        for images in (toy_split.images, attacked)
    )
    assert robust < clean
    assert scalars == {"accuracy_clean": clean, "accuracy_fgsm": robust}
    assert list(grids) == ["clean_then_adversarial"]
