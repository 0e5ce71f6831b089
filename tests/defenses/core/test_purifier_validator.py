import numpy as np
import pytest

from tfdefense.attacks import BIM, FGSM
from tfdefense.data.core import disk_array
from tfdefense.defenses import APEGAN, MagNet
from tfdefense.defenses.core import adversarial_pairs, purifier_validator


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


@pytest.mark.parametrize("kind", [APEGAN, MagNet])
def test_a_validation_uses_the_first_500_images(toy_model, toy_split, kind):
    order = np.random.default_rng(0).integers(0, len(toy_split), 600)
    validator = kind(toy_model).make_validator(toy_split.select(order))
    np.testing.assert_array_equal(validator.fgsm_pairs["clean"], toy_split.images[order[:500]])
    np.testing.assert_array_equal(validator.fgsm_pairs["labels"], toy_split.labels[order[:500]])


@pytest.mark.slow
def test_images_on_disk_are_read_and_attacked_batch_by_batch(
    toy_model, toy_split, toy_split_on_disk, monkeypatch
):
    on_disk, counts = toy_split_on_disk
    expected, _ = APEGAN(toy_model).make_validator(toy_split)()
    monkeypatch.setattr(disk_array, "MEMORY_LIMIT", 0)
    monkeypatch.setattr(purifier_validator, "fitting_batch_size", lambda *_: 10)
    monkeypatch.setattr(adversarial_pairs, "fitting_batch_size", lambda *_: 10)
    validator = APEGAN(toy_model).make_validator(on_disk)
    assert validator()[0] == expected
    assert max(counts) == 10
    assert isinstance(validator._bim_pairs["clean"], disk_array.DiskArray)
