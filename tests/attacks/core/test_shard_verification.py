"""Stored images that were changed on disk are found out, made again and named."""

import dataclasses
import re

import numpy as np
import pytest
import tensorflow as tf

from tfdefense.attacks import BIM, CarliniWagnerL2
from tfdefense.attacks.core.adversarial_dataset import load_adversarial_dataset, shard_key
from tfdefense.attacks.core.adversarial_dataset_maker import (
    AdversarialStorage,
    make_adversarial_dataset,
)
from tfdefense.attacks.core.shard_verification import ShardVerifier
from tfdefense.attacks.core.shards import Shard
from tfdefense.classifiers import FrozenClassifier
from tfdefense.defenses.core.adversarial_pairs import make_stored_pairs
from tfdefense.errors import UserError

SHAPE = (12, 12, 1)
ATTACK = BIM(epsilon=0.4)


@pytest.fixture(scope="module")
def classifier(toy_model):
    return FrozenClassifier(toy_model, SHAPE)


@pytest.fixture
def make(classifier, toy_split, tmp_path):
    def make(attack=ATTACK):
        storage = AdversarialStorage("train", batch_size=12, runs_dir=tmp_path)
        return make_adversarial_dataset(classifier, toy_split, attack, storage)

    return make


def first_shard(dataset):
    return sorted((dataset.directory.path / "shards").iterdir())[0]


def change(dataset, *, forged=False, **arrays):
    """Write other arrays into the first shard; `forged` makes its checksum fit."""
    path = first_shard(dataset)
    with np.load(path) as file:
        content = {**file, **arrays}
    if forged:
        content.pop("checksum")
        key = shard_key(dataset.settings, dataset.clean_fingerprint, slice(0, 12))
        Shard(**content).save(path, key)
    else:
        np.savez(path, **content)


def zeros(name):
    return np.zeros(12, np.int32 if name == "l0" else np.float32)


CHANGES = {
    "clean images": lambda part, _: {"adversarial": part.images},
    "consistent clean images": lambda part, _: {
        "adversarial": part.images,
        "success": np.zeros(12, bool),
        **{name: zeros(name) for name in ("l0", "l2", "linf")},
    },
    "five pixels": lambda _, made: {"adversarial": made[:, :5]},
    "five images": lambda _, made: {"adversarial": made[:5]},
    "not a number": lambda _, made: {"adversarial": np.where(made > 0.5, np.nan, made)},
    "out of range": lambda _, made: {"adversarial": made + np.float32(1)},
    "bytes": lambda _, made: {"adversarial": (255 * made).astype(np.uint8)},
    "objects": lambda _, made: {"adversarial": np.array([*made, None], object)[:12]},
    "other norms": lambda _, made: {"l2": zeros("l2")},
    "other success": lambda _, made: {"success": np.zeros(12, bool)},
}
REASONS = {
    "clean images": "l0 differs from that of the images",
    "consistent clean images": "checksum wrong",
    "five pixels": r"adversarial has shape \[12, 5, 12, 1\]|checksum wrong",
    "five images": r"adversarial is float32 \[5, 12, 12, 1\], float32 \[12, H, W, C\] needed",
    "not a number": "adversarial not finite",
    "out of range": r"adversarial not in \[0, 1\]",
    "bytes": "adversarial is uint8",
    "objects": "adversarial holds Python objects",
    "other norms": "l2 differs from that of the images",
    "other success": "success of 12 of 12 images differs from the model's predictions",
}
UNDETECTABLE_IF_FORGED = ("consistent clean images",)
UNSAVEABLE = ("objects",)


@pytest.mark.slow
@pytest.mark.parametrize("forged", [False, True], ids=["changed", "forged"])
@pytest.mark.parametrize("what", CHANGES)
def test_a_changed_shard_is_made_again_and_named(make, toy_split, capsys, what, forged):
    if forged and what in (*UNDETECTABLE_IF_FORGED, *UNSAVEABLE):
        pytest.skip("not possible")
    dataset = make()
    assert dataset.success.all()
    arrays = CHANGES[what](toy_split.take(12), dataset.adversarial[:12])
    change(dataset, forged=forged, **arrays)
    capsys.readouterr()
    again = make()
    line = next(line for line in capsys.readouterr().out.splitlines() if "made again" in line)
    reason = REASONS[what] if forged else f"{REASONS[what]}|checksum wrong"
    assert re.fullmatch(rf".*00000000\.npz: ({reason}).*; it is made again\.", line)
    np.testing.assert_array_equal(again.adversarial, dataset.adversarial)
    assert again.success.all(), "an undefended BIM leaves no image"


@pytest.mark.parametrize("length", [0, 10, 500, -30])
def test_a_truncated_file_is_made_again(make, capsys, length):
    dataset = make()
    path = first_shard(dataset)
    path.write_bytes(path.read_bytes()[:length])
    again = make()
    assert "damaged" in capsys.readouterr().out
    np.testing.assert_array_equal(again.adversarial, dataset.adversarial)


def test_a_shard_in_another_place_is_made_again(make, capsys):
    dataset = make()
    first, second = sorted((dataset.directory.path / "shards").iterdir())
    second.write_bytes(first.read_bytes())
    again = make()
    assert "checksum wrong, so its content or its place was changed" in capsys.readouterr().out
    np.testing.assert_array_equal(again.adversarial, dataset.adversarial)


def as_shard(dataset, count):
    fields = [field.name for field in dataclasses.fields(Shard) if field.name != "seconds"]
    return Shard(**{name: getattr(dataset, name)[:count] for name in fields}, seconds=np.array(1.0))


def test_images_outside_the_ball_are_found(make, classifier, toy_split):
    shard, part = as_shard(make(), 12), toy_split.take(12)
    ShardVerifier(classifier, 0.4, "linf", SHAPE).verify(shard, part)
    with pytest.raises(ValueError, match=r"linf of 0\.4, at most 0\.3 allowed"):
        ShardVerifier(classifier, 0.3, "linf", SHAPE).verify(shard, part)
    ShardVerifier(classifier, None, "linf", SHAPE).verify(shard, part)


def test_the_success_of_another_model_is_found(make, toy_split):
    def other(images):
        return tf.one_hot(toy_split.labels, 3) + 0 * tf.reduce_sum(images, axis=(1, 2))

    with pytest.raises(ValueError, match="success of 24 of 24 images differs"):
        ShardVerifier(other, 0.4, "linf", SHAPE).verify(as_shard(make(), 24), toy_split)


def test_a_randomised_model_may_contradict_itself(make, toy_model, toy_split):
    def randomized(images):
        return toy_model(images) + 50.0 * tf.random.normal([tf.shape(images)[0], 3])

    ShardVerifier(randomized, 0.4, "linf", SHAPE).verify(as_shard(make(), 24), toy_split)


@pytest.mark.slow
def test_attacks_with_random_targets_and_without_a_radius_are_verified(make, capsys):
    attack = CarliniWagnerL2(searches=2, steps=20, targets="random")
    dataset = make(attack)
    assert (dataset.targets >= 0).all()
    capsys.readouterr()
    make(attack)
    assert "made again" not in capsys.readouterr().out
    change(dataset, forged=True, success=~dataset.success[:12])
    make(attack)
    assert "differs from the model's predictions" in capsys.readouterr().out


def test_changed_pairs_are_one_line(make, toy_split):
    dataset = make()
    make_stored_pairs([dataset], toy_split)
    change(dataset, adversarial=toy_split.images[:12])
    with pytest.raises(UserError, match=r"00000000\.npz: checksum wrong.*bin/attack") as error:
        load_adversarial_dataset(dataset.directory)
    assert "\n" not in str(error.value)
    change(dataset, forged=True, adversarial=toy_split.images[:12])
    again = load_adversarial_dataset(dataset.directory.path)
    with pytest.raises(
        UserError, match=r"--pairs=.* images 0 to 23 fail verification \(l0 differs"
    ):
        make_stored_pairs([again], toy_split)
