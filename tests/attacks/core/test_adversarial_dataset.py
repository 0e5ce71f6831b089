"""Adversarial datasets: stored, resumed, found again and told apart."""

import dataclasses
import json

import numpy as np
import pytest

import tfdefense
from tests.conftest import make_toy_model
from tfdefense.attacks import BIM, FGSM, JSMA, StrongestOf
from tfdefense.attacks.core import adversarial_dataset
from tfdefense.attacks.core.adversarial_dataset import CODE_SETTINGS, load_adversarial_dataset
from tfdefense.attacks.core.adversarial_dataset_maker import (
    AdversarialStorage,
    make_adversarial_dataset,
)
from tfdefense.classifiers import FrozenClassifier
from tfdefense.data.core import disk_array
from tfdefense.defenses import get_defense_class
from tfdefense.defenses.core.adversarial_pairs import make_stored_pairs
from tfdefense.defenses.core.training_inputs import TrainingData
from tfdefense.errors import UserError
from tfdefense.evaluation import attack_summary
from tfdefense.training import LoopConfig

SHAPE = (12, 12, 1)
MAKER = "tfdefense.attacks.core.adversarial_dataset_maker"


@pytest.fixture
def classifier(toy_model):
    return FrozenClassifier(toy_model, SHAPE)


@pytest.fixture
def make(classifier, toy_split, tmp_path):
    fgsm = FGSM(epsilon=0.2)

    def make(attack=fgsm, split=toy_split, model=classifier, output=None):
        storage = AdversarialStorage("train", batch_size=10, output=output, runs_dir=tmp_path)
        return make_adversarial_dataset(model, split, attack, storage)

    return make


def modification_times(dataset):
    return {path: path.stat().st_mtime_ns for path in dataset.directory.path.rglob("*")}


def test_images_are_stored_as_float32(make, toy_model, toy_split):
    labels = np.where(np.arange(24) < 5, 0, toy_split.labels).astype(np.int32)
    dataset = make(split=dataclasses.replace(toy_split, labels=labels))
    expected = FGSM(epsilon=0.2).run(toy_model, toy_split.images, labels)
    assert dataset.adversarial.dtype == np.float32
    np.testing.assert_allclose(dataset.adversarial, expected.images, atol=1e-6)
    for name in ("success", "l0", "l2", "linf", "queries", "gradients"):
        np.testing.assert_allclose(getattr(dataset, name), getattr(expected, name), atol=1e-5)
    np.testing.assert_array_equal(dataset.clean_success, labels != toy_split.labels)
    assert [path.name for path in sorted((dataset.directory.path / "shards").iterdir())] == [
        "00000000.npz",
        "00000010.npz",
        "00000020.npz",
    ]


def test_a_second_call_finds_the_dataset_and_attacks_nothing(make, monkeypatch):
    first = make()
    before = modification_times(first)
    monkeypatch.setattr(FGSM, "run", None)
    again = make()
    assert modification_times(again) == before
    np.testing.assert_array_equal(again.adversarial, first.adversarial)


def test_missing_and_damaged_shards_are_made_again(make, capsys):
    finished = make()
    shards = sorted((finished.directory.path / "shards").iterdir())
    shards[1].unlink()
    shards[2].write_bytes(shards[2].read_bytes()[:100])
    before = modification_times(finished)
    again = make()
    assert "damaged; it is made again" in capsys.readouterr().out
    assert modification_times(again)[shards[0]] == before[shards[0]]
    np.testing.assert_array_equal(again.adversarial, finished.adversarial)


def test_a_call_after_a_killed_one_resumes_with_the_next_shard(make, monkeypatch):
    attacked = []
    run = FGSM.run

    def run_or_die(self, model, images, labels, targets=None):
        attacked.append(len(images))
        if len(attacked) == 2:
            raise KeyboardInterrupt
        return run(self, model, images, labels, targets)

    monkeypatch.setattr(FGSM, "run", run_or_die)
    with pytest.raises(KeyboardInterrupt):
        make()
    dataset = make()
    assert attacked == [10, 10, 10, 4]
    assert len(dataset.success) == 24


def test_an_unfinished_dataset_is_refused(make):
    dataset = make()
    sorted((dataset.directory.path / "shards").iterdir())[1].unlink()
    with pytest.raises(UserError, match=r"not finished \(from image 10 of 24 on\)"):
        load_adversarial_dataset(dataset.directory)


@pytest.mark.slow
def test_other_arguments_give_another_directory(make, toy_split):
    other_model = make_toy_model()
    weights = other_model.get_weights()
    other_model.set_weights([weights[0] + 1e-3, *weights[1:]])
    paths = {
        make().directory.path,
        make(FGSM(epsilon=0.21)).directory.path,
        make(BIM(epsilon=0.2)).directory.path,
        make(split=toy_split.take(23)).directory.path,
        make(split=dataclasses.replace(toy_split, images=toy_split.images * 0.99)).directory.path,
        make(model=FrozenClassifier(other_model, SHAPE)).directory.path,
    }
    assert len(paths) == 6


def test_a_directory_with_other_settings_is_refused(make, tmp_path):
    make(output=tmp_path / "mine")
    with pytest.raises(UserError, match=r"other settings: --epsilon=0\.2 \(0\.1 now\)"):
        make(FGSM(epsilon=0.1), output=tmp_path / "mine")


@pytest.mark.slow
def test_a_pipeline_and_its_classifier_have_two_directories(make, toy_model):
    defense = tfdefense.defenses.APEGANPlusPlus(toy_model)
    first = make(model=defense.defend()).directory.path
    assert first != make().directory.path
    variable = defense.generator.trainable_variables[0]
    variable.assign(variable + 1e-3)
    assert make(model=defense.defend()).directory.path != first


def test_a_model_that_is_not_of_keras_is_refused(make, toy_model):
    def anything(images):
        return toy_model(images)

    with pytest.raises(UserError, match="not a Keras model"):
        make(model=FrozenClassifier(anything, SHAPE))


@pytest.mark.slow
def test_summary_covers_the_images_that_the_attack_fooled(make, toy_split):
    dataset = make(JSMA(theta=0.5, gamma=0.5))
    found = attack_summary.summarize_attack(dataset, toy_split)
    new = dataset.success & ~dataset.clean_success
    assert found["l0"]["mean"] == pytest.approx(dataset.l0[new].mean())
    assert found["success"]["share"] == pytest.approx(dataset.success.mean())
    assert found["success"]["ci_low"] <= found["success"]["share"] <= found["success"]["ci_high"]
    attack_summary.save_attack_summary(dataset, toy_split)
    path = dataset.directory.path
    assert json.loads((path / "summary.json").read_text())["n"] == 24
    table = (path / "summary.md").read_text()
    assert "rounded to 8 bits" in table
    assert "theta=0.5" in table


@pytest.mark.usefixtures("short_training")
@pytest.mark.slow
def test_a_defense_trains_on_adversarial_datasets(make, toy_model, toy_split):
    sets = [make(FGSM(epsilon=0.2)), make(BIM(epsilon=0.3))]
    arrays = make_stored_pairs(sets, toy_split)
    assert arrays["adversarial_0"].shape == (24, *SHAPE)
    np.testing.assert_array_equal(arrays["adversarial_1"], sets[1].adversarial)
    defense = tfdefense.defenses.APEGANPlusPlus(toy_model)
    before = defense.generator.get_weights()[0].copy()
    defense.fit(toy_split, epochs=1, batch_size=8, pairs=sets)
    assert np.abs(defense.generator.get_weights()[0] - before).max() > 0


@pytest.mark.usefixtures("short_training")
@pytest.mark.slow
@pytest.mark.parametrize("name", ["apegan", "bit_depth+apegan"])
def test_a_training_draws_from_the_datasets_by_their_weights(make, toy_model, toy_split, name):
    """A dataset whose weight is 0 is not learned from."""
    sets = [make(FGSM(epsilon=0.2)), make(BIM(epsilon=0.3))]
    trained = []
    for data in (
        TrainingData(toy_split, pairs=sets, pair_weights=(0.0, 1.0)),
        TrainingData(toy_split, pairs=sets[1:]),
        TrainingData(toy_split, pairs=sets),
    ):
        defense = get_defense_class(name)(toy_model)
        defense.run_training(data, LoopConfig(1, 8), {})
        trained.append(next(iter(defense.networks().values())).get_weights()[0])
    np.testing.assert_array_equal(trained[0], trained[1])
    assert np.any(trained[0] != trained[2])


@pytest.mark.usefixtures("short_training")
@pytest.mark.slow
def test_a_dataset_too_large_for_memory_stays_on_disk_and_trains_the_same(
    make, toy_model, toy_split, monkeypatch
):
    in_memory = make(FGSM(epsilon=0.2))
    monkeypatch.setattr(disk_array, "MEMORY_LIMIT", 0)
    on_disk = load_adversarial_dataset(in_memory.directory)
    assert isinstance(on_disk.adversarial, disk_array.DiskArray)
    assert on_disk.adversarial.dtype == np.float32
    np.testing.assert_array_equal(np.asarray(on_disk.adversarial), in_memory.adversarial)
    weights = []
    for dataset in (in_memory, on_disk):
        defense = tfdefense.defenses.APEGANPlusPlus(toy_model)
        defense.fit(toy_split, epochs=1, batch_size=8, pairs=[dataset])
        weights.append(defense.generator.get_weights()[0])
    np.testing.assert_array_equal(*weights)


def test_a_dataset_of_other_images_is_refused_for_training(make, toy_split):
    with pytest.raises(
        UserError, match="made from 23 images of toy train, but training uses the 24"
    ):
        make_stored_pairs([make(split=toy_split.take(23))], toy_split)


def test_names_of_stored_images_do_not_change_with_the_version():
    """Runs that trained on pairs of an older version are found by this hash."""
    name = adversarial_dataset.settings_hash({"attack": "fgsm", "epsilon": 0.1}, "data")
    assert name == "81378f924641"


@pytest.mark.parametrize(
    ("what", "setting"),
    [
        (("tfdefense.attacks.core.attack.code_revision", lambda *_: "other"), "attack_code"),
        ((f"{MAKER}.model_code_revision", lambda *_: "other"), "model_code"),
        ((f"{MAKER}.tf.__version__", "3.0"), "tensorflow"),
    ],
)
def test_other_code_gives_another_directory(make, monkeypatch, what, setting):
    before = make()
    monkeypatch.setattr(*what)
    after = make()
    assert before.directory.path != after.directory.path
    assert before.settings[setting] != after.settings[setting]


def test_a_given_directory_of_other_code_is_one_line(make, tmp_path, monkeypatch):
    make(output=tmp_path / "mine")
    monkeypatch.setattr(f"{MAKER}.model_code_revision", lambda *_: "other")
    with pytest.raises(
        UserError,
        match=r"made by other code: model code \w+ \(other now\)\. Choose another --output",
    ):
        make(output=tmp_path / "mine")


def test_a_dataset_of_version_0_2_opens_under_its_old_name(make, toy_split):
    """It has no revisions of code, no checksums, no targets and no surrogates."""
    dataset = make()
    settings = {
        name: value for name, value in dataset.settings.items() if name not in CODE_SETTINGS
    }
    path = dataset.directory.config_path
    content = json.loads(path.read_text())
    path.write_text(json.dumps({**content, "settings": settings}))
    for shard in (dataset.directory.path / "shards").iterdir():
        with np.load(shard) as file:
            kept = {
                name: file[name]
                for name in file
                if name not in ("checksum", "targets", "surrogate")
            }
        np.savez(shard, **kept)
    old = load_adversarial_dataset(dataset.directory.path)
    assert old.name == f"fgsm-{adversarial_dataset.settings_hash(settings, old.clean_fingerprint)}"
    assert (old.surrogate == -1).all()
    make_stored_pairs([old], toy_split)
    with pytest.raises(UserError, match=r"made by other code: attack code not set \(\w+ now\), "):
        make(output=dataset.directory.path)


@pytest.mark.slow
def test_several_attacks_in_one_are_stored(make):
    attack = StrongestOf([FGSM(epsilon=0.2), BIM(epsilon=0.2)])
    assert make(attack).directory.path == make(attack).directory.path
    assert make(StrongestOf([FGSM(epsilon=0.2)])).directory.path != make(attack).directory.path
