"""Adversarial examples on disk: resumed, found again, and kept apart from others'."""

import dataclasses
import json

import numpy as np
import pytest

import tfdefense
from tests.conftest import make_toy_model
from tfdefense.attacks import BIM, FGSM, JSMA
from tfdefense.attacks.core import adversarial_dataset
from tfdefense.classifiers import FrozenClassifier
from tfdefense.data.core import disk_array
from tfdefense.defenses.core.adversarial_pairs import make_stored_pairs
from tfdefense.errors import UserError
from tfdefense.evaluation import attack_summary

SHAPE = (12, 12, 1)


@pytest.fixture
def classifier(toy_model):
    return FrozenClassifier(toy_model, SHAPE)


@pytest.fixture
def make(classifier, toy_split, tmp_path):
    def make(attack=FGSM(epsilon=0.2), split=toy_split, model=classifier, **options):  # noqa: B008
        options = {"batch_size": 10, "runs_dir": tmp_path, **options}
        return adversarial_dataset.make_adversarial_dataset(
            model, split, attack, "train", **options
        )

    return make


def stamps(examples):
    return {path: path.stat().st_mtime_ns for path in examples.run.path.rglob("*")}


def test_keeps_what_the_attack_made_as_float32(make, toy_model, toy_split):
    examples = make()
    expected = FGSM(epsilon=0.2).run(toy_model, toy_split.images, toy_split.labels)
    assert examples.adversarial.dtype == np.float32
    np.testing.assert_allclose(examples.adversarial, expected.images, atol=1e-6)
    for name in ("success", "l0", "l2", "linf", "queries", "gradients"):
        np.testing.assert_allclose(getattr(examples, name), getattr(expected, name), atol=1e-5)
    assert not examples.clean_success.any()
    assert [path.name for path in sorted((examples.run.path / "shards").iterdir())] == [
        "00000000.npz",
        "00000010.npz",
        "00000020.npz",
    ]


def test_a_second_call_finds_them_and_attacks_nothing(make, monkeypatch):
    first = make()
    before = stamps(first)
    monkeypatch.setattr(FGSM, "run", None)
    again = make()
    assert stamps(again) == before
    np.testing.assert_array_equal(again.adversarial, first.adversarial)


def test_goes_on_with_what_is_missing_or_damaged(make, capsys):
    whole = make()
    shards = sorted((whole.run.path / "shards").iterdir())
    shards[1].unlink()
    shards[2].write_bytes(shards[2].read_bytes()[:100])
    before = stamps(whole)
    again = make()
    assert "damaged; it is made again" in capsys.readouterr().out
    assert stamps(again)[shards[0]] == before[shards[0]]
    np.testing.assert_array_equal(again.adversarial, whole.adversarial)


def test_a_killed_call_leaves_whole_shards_and_the_next_goes_on(make, monkeypatch):
    attacked = []
    whole = FGSM.run

    def dies(self, model, images, labels, targets=None):
        attacked.append(len(images))
        if len(attacked) == 2:
            raise KeyboardInterrupt
        return whole(self, model, images, labels, targets)

    monkeypatch.setattr(FGSM, "run", dies)
    with pytest.raises(KeyboardInterrupt):
        make()
    examples = make()
    assert attacked == [10, 10, 10, 4]
    assert len(examples.success) == 24


def test_unfinished_examples_are_not_read(make):
    examples = make()
    sorted((examples.run.path / "shards").iterdir())[1].unlink()
    with pytest.raises(UserError, match=r"not finished \(from image 10 of 24 on\)"):
        adversarial_dataset.load_adversarial_dataset(examples.run)


def test_anything_else_has_another_directory(make, toy_split):
    other_model = make_toy_model()
    weights = other_model.get_weights()
    other_model.set_weights([weights[0] + 1e-3, *weights[1:]])
    paths = {
        make().run.path,
        make(FGSM(epsilon=0.21)).run.path,
        make(BIM(epsilon=0.2)).run.path,
        make(split=toy_split.take(23)).run.path,
        make(split=dataclasses.replace(toy_split, images=toy_split.images * 0.99)).run.path,
        make(model=FrozenClassifier(other_model, SHAPE)).run.path,
    }
    assert len(paths) == 6


def test_a_directory_of_other_examples_is_not_mixed_up(make, tmp_path):
    make(output=tmp_path / "mine")
    with pytest.raises(UserError, match=r"another --epsilon \(0.2 there\)"):
        make(FGSM(epsilon=0.1), output=tmp_path / "mine")


def test_a_defended_pipeline_is_told_from_its_classifier(make, toy_model):
    defense = tfdefense.defenses.APEGANPlusPlus(toy_model)
    first = make(model=defense.defend()).run.path
    assert first != make().run.path
    variable = defense.generator.trainable_variables[0]
    variable.assign(variable + 1e-3)
    assert make(model=defense.defend()).run.path != first


def test_a_model_without_weights_to_hash_is_refused(make, toy_model):
    def anything(images):
        return toy_model(images)

    with pytest.raises(UserError, match="a Keras model needed"):
        make(model=FrozenClassifier(anything, SHAPE))


def test_summary_is_of_the_images_that_fell(make, toy_split):
    examples = make(JSMA(theta=0.5, gamma=0.5))
    found = attack_summary.summarize_attack(examples, toy_split)
    new = examples.success & ~examples.clean_success
    assert found["l0"]["mean"] == pytest.approx(examples.l0[new].mean())
    assert found["success"]["share"] == pytest.approx(examples.success.mean())
    assert found["success"]["ci_low"] <= found["success"]["share"] <= found["success"]["ci_high"]
    attack_summary.save_attack_summary(examples, toy_split)
    path = examples.run.path
    assert json.loads((path / "summary.json").read_text())["n"] == 24
    table = (path / "summary.md").read_text()
    assert "rounded to 8 bits" in table
    assert "theta=0.5" in table


def test_training_draws_from_what_was_crafted(make, toy_model, toy_split):
    sets = [make(FGSM(epsilon=0.2)), make(BIM(epsilon=0.3))]
    arrays = make_stored_pairs(sets, toy_split)
    assert arrays["adversarial_0"].shape == (24, *SHAPE)
    np.testing.assert_array_equal(arrays["adversarial_1"], sets[1].adversarial)
    defense = tfdefense.defenses.APEGANPlusPlus(toy_model)
    before = defense.generator.get_weights()[0].copy()
    defense.fit(toy_split, epochs=2, batch_size=8, pairs=sets)
    assert np.abs(defense.generator.get_weights()[0] - before).max() > 0


def test_examples_too_many_for_memory_stay_on_disk_and_train_the_same(
    make, toy_model, toy_split, monkeypatch
):
    here = make(FGSM(epsilon=0.2))
    monkeypatch.setattr(disk_array, "MEMORY_LIMIT", 0)
    there = adversarial_dataset.load_adversarial_dataset(here.run)
    assert isinstance(there.adversarial, disk_array.DiskArray)
    assert there.adversarial.dtype == np.float32
    np.testing.assert_array_equal(np.asarray(there.adversarial), here.adversarial)
    weights = []
    for examples in (here, there):
        defense = tfdefense.defenses.APEGANPlusPlus(toy_model)
        defense.fit(toy_split, epochs=1, batch_size=8, pairs=[examples])
        weights.append(defense.generator.get_weights()[0])
    np.testing.assert_array_equal(*weights)


def test_examples_of_other_images_are_refused_for_training(make, toy_split):
    with pytest.raises(UserError, match="made of 23 images of toy train; the 24"):
        make_stored_pairs([make(split=toy_split.take(23))], toy_split)
