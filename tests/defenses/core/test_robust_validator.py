import numpy as np

from tfdefense.attacks import FGSM
from tfdefense.defenses.core import robust_validator
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


def test_images_on_disk_are_read_batch_by_batch(
    toy_model, toy_split, toy_split_on_disk, monkeypatch
):
    on_disk, counts = toy_split_on_disk
    attack = FGSM(epsilon=0.1)
    together, [grid] = make_robust_validator(toy_model, attack, toy_split)()
    monkeypatch.setattr(robust_validator, "fitting_batch_size", lambda *_: 5)
    scalars, grids = make_robust_validator(toy_model, attack, on_disk)()
    assert scalars == together
    assert max(counts) == 8, "the first images are shown"
    adversarial = attack(toy_model, toy_split.images[:8], toy_split.labels[:8])
    rows = [np.concatenate(list(row), axis=1) for row in (toy_split.images[:8], adversarial)]
    np.testing.assert_allclose(grids[grid], np.concatenate(rows), atol=1e-6)
