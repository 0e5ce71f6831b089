import itertools

import numpy as np
import pytest
import tensorflow as tf

from tfdefense.classifiers.core.augmentation import Augmentation
from tfdefense.data import Split
from tfdefense.data.core.batches import shuffled_batches
from tfdefense.defenses import (
    APEGAN,
    compose,
    get_defense_class,
)
from tfdefense.defenses.core.hyperparameters import config_text, stored_hyperparameters
from tfdefense.defenses.core.learned_defense import LearnedDefense
from tfdefense.defenses.registry import DEFENSES
from tfdefense.errors import UserError
from tfdefense.training import Replica
from tfdefense.training.run_directory import RunDirectory

LEARNED = [name for name in DEFENSES.names() if issubclass(DEFENSES.get(name), LearnedDefense)]
SMALL = {"generator": "small_unet", "widths": (4, 8)}
QUICK = {
    **dict.fromkeys(("apegan", "apeganpp", "cgan", "denoised_smoothing"), SMALL),
    "adversarial_training": {"inner_steps": 1},
    "defense_gan": {"generator_filters": 4, "code_size": 8},
    "robust_purifier": {"inner_steps": 1, "widths": (4, 8), "ramp": 0.0},
}


def rows(arrays, count=24):
    return {name: tf.constant(array[:count]) for name, array in arrays.items()}


def replica_of(step=0, count=24):
    return Replica(0, tf.constant(step, tf.int64), count)


def training_batch(defense, split):
    arrays = defense.training_arrays(split, ())
    return rows(arrays | defense.begin_augmentation(len(split), seed=1))


def moved_alike(clean, adversarial, new_clean, new_adversarial):
    """Return the (flip, rows, columns) that turn both images of a pair into the new ones."""
    # 1/8 of the sides of 12 pixels.
    for flip, down, across in itertools.product((False, True), range(-2, 3), range(-2, 3)):
        moved = []
        for image in (clean, adversarial):
            image = image[:, ::-1] if flip else image
            padded = np.pad(image, ((2, 2), (2, 2), (0, 0)), "symmetric")
            moved.append(padded[2 + down : 14 + down, 2 + across : 14 + across])
        if np.array_equal(moved[0], new_clean) and np.array_equal(moved[1], new_adversarial):
            return flip, down, across
    return None


def test_a_clean_image_and_its_adversarial_image_are_shifted_and_mirrored_exactly_alike(
    toy_model, toy_split
):
    defense = APEGAN(toy_model, augmentation="shift", mirror=True, strengths=(0.2,))
    batch = training_batch(defense, toy_split)
    plain = APEGAN(toy_model, strengths=(0.2,)).draw_pairs(batch, replica_of())
    pairs = defense.draw_pairs(batch, replica_of())
    names = ("clean", "adversarial")
    before, after = ([images[name].numpy() for name in names] for images in (plain, pairs))
    moves = [moved_alike(*each) for each in zip(*before, *after, strict=True)]
    assert None not in moves
    assert [flip for flip, _, _ in moves] == [
        bool(value) for value in batch["mirrored_first"].numpy()
    ]
    assert len(set(moves)) > 5
    np.testing.assert_array_equal(pairs["labels"], toy_split.labels)


def test_stored_adversarial_images_are_moved_with_their_clean_images(toy_model, toy_images):
    """The stored images are 1 minus the clean ones, so any other move of them would show."""
    defense = APEGAN(toy_model, augmentation="shift", mirror=True)
    stored = {
        "clean": toy_images,
        "labels": np.zeros(24, np.int32),
        "adversarial_0": 1 - toy_images,
    }
    batch = rows(stored | defense.begin_augmentation(24, seed=1))
    pairs = defense.draw_pairs(batch, replica_of(3))
    np.testing.assert_array_equal(pairs["adversarial"], 1 - pairs["clean"])
    assert np.any(pairs["clean"] != toy_images)


def test_both_images_of_a_pair_lose_the_same_square(toy_model, toy_split):
    defense = APEGAN(toy_model, cutout=4, strengths=(0.2,))
    batch = training_batch(defense, toy_split)
    plain = APEGAN(toy_model, strengths=(0.2,)).draw_pairs(batch, replica_of())
    pairs = defense.draw_pairs(batch, replica_of())
    lost = np.all((pairs["clean"] == 0.5) & (pairs["adversarial"] == 0.5), axis=-1)
    np.testing.assert_array_equal(lost.sum(axis=(1, 2)), 16)
    for name in ("clean", "adversarial"):
        np.testing.assert_array_equal(pairs[name][~lost], plain[name][~lost])


def test_an_affine_change_is_one_for_both_images_and_does_not_enlarge_the_perturbation(
    toy_model, toy_split
):
    defense = APEGAN(toy_model, augmentation="affine", strengths=(0.2,))
    batch = training_batch(defense, toy_split)
    pairs = defense.draw_pairs(batch, replica_of())
    replica = replica_of()
    replica.choice((0.2,))  # The strength is drawn first.
    alone = Augmentation("affine").apply(batch["clean"], replica)
    np.testing.assert_allclose(pairs["clean"], alone, atol=1e-6)
    change = np.abs(pairs["adversarial"] - pairs["clean"])
    assert 0.1 < change.max() <= 0.2 + 1e-6


def test_an_image_is_mirrored_in_every_second_pass(toy_model, toy_images):
    """Batches of 7 do not divide the 24 images, so a batch has images of two passes."""
    defense = APEGAN(toy_model, mirror=True)
    arrays = {"clean": toy_images, "index": np.arange(24)} | defense.begin_augmentation(24, seed=1)
    shown = {}
    for step, batch in zip(range(12), shuffled_batches(arrays, 7, seed=0), strict=False):
        changed = defense.augment(batch, replica_of(step, 7))["clean"].numpy()
        for index, image in zip(batch["index"].numpy(), changed, strict=True):
            is_mirror = np.array_equal(image, toy_images[index][:, ::-1])
            assert is_mirror or np.array_equal(image, toy_images[index])
            shown.setdefault(index, []).append(is_mirror)
    assert all(a != b for each in shown.values() for a, b in itertools.pairwise(each))
    assert {each[0] for each in shown.values()} == {True, False}


@pytest.mark.slow
@pytest.mark.parametrize("name", LEARNED)
def test_every_defence_learns_from_the_changed_images(toy_model, toy_split, name):
    """A step that changes its images equals a step on images that were changed before it.

    If an attack came first, or a loss had the old images, its scalars would differ.
    """
    kind, given = DEFENSES.get(name), QUICK.get(name, {})
    augmenting = kind(toy_model, seed=3, mirror=True, **given)
    plain = kind(toy_model, seed=3, **given)
    augmenting.prepare(10), plain.prepare(10)
    arrays = augmenting.training_arrays(toy_split, ())
    mirrors = augmenting.begin_augmentation(24, seed=1)
    flip = mirrors["mirrored_first"] == 1
    changed = {key: np.array(array) for key, array in arrays.items()}
    for key in changed.keys() - {"labels"}:
        changed[key][flip] = changed[key][flip][:, :, ::-1]
    scalars = augmenting.train_step(rows(arrays | mirrors), replica_of())
    expected = plain.train_step(rows(changed), replica_of())
    assert scalars.keys() == expected.keys()
    for key in expected:
        np.testing.assert_allclose(scalars[key], expected[key], rtol=1e-5, atol=1e-6, err_msg=key)
    unchanged = kind(toy_model, seed=3, **given)
    unchanged.prepare(10)
    others = unchanged.train_step(rows(arrays), replica_of())
    assert any(abs(float(others[key] - expected[key])) > 1e-6 for key in expected)


@pytest.mark.parametrize("name", LEARNED)
def test_nothing_is_changed_by_default(toy_model, toy_images, name):
    defense = DEFENSES.get(name)(toy_model, **QUICK.get(name, {}))
    batch = {"clean": tf.constant(toy_images)}
    assert defense.augment(batch, replica_of()) is batch
    assert defense.begin_augmentation(24, seed=0) == {}


@pytest.mark.parametrize("name", LEARNED)
def test_settings_and_fingerprints_of_older_runs_are_unchanged(name):
    config_type = DEFENSES.get(name).config_type
    default = config_type()
    assert not stored_hyperparameters(default).keys() & {"augmentation", "mirror", "cutout"}
    assert "augmentation" not in config_text(default)
    assert "cutout" not in config_text(default)
    given = config_type(augmentation="shift", mirror=True, cutout=3)
    assert stored_hyperparameters(given)["augmentation"] == "shift"
    assert stored_hyperparameters(given)["cutout"] == 3
    assert "mirror=True" in config_text(given)
    assert "cutout=3" in config_text(given)


def test_the_fingerprint_of_a_composition_has_what_is_given(toy_model):
    kind = get_defense_class("bit_depth+apegan")
    for composition in (kind(toy_model), compose(kind(toy_model).parts)):
        text = composition.defend().identity()[0][1]
        assert "augmentation" not in text
        assert "mirror" not in text
    given = kind(toy_model, mirror=True)
    assert "mirror=True" in given.defend().identity()[0][1]
    assert stored_hyperparameters(kind(toy_model, mirror=False, cutout=0).config) == (
        stored_hyperparameters(kind(toy_model).config)
    )
    assert "apegan_mirror=True" in compose(given.parts).defend().identity()[0][1]


@pytest.mark.usefixtures("short_training")
@pytest.mark.slow
def test_a_run_without_the_settings_is_accepted_and_one_with_others_is_not(
    toy_model, toy_split, tmp_path
):
    run = tmp_path / "run"
    APEGAN(toy_model).fit(toy_split, epochs=1, batch_size=24, run=run)
    assert "augmentation" not in RunDirectory(run).read_config().settings
    APEGAN(toy_model, augmentation="none").fit(toy_split, epochs=1, batch_size=24, run=run)
    with pytest.raises(UserError, match=r"--augmentation not set \(shift now\)"):
        APEGAN(toy_model, augmentation="shift").fit(toy_split, epochs=1, batch_size=24, run=run)


@pytest.mark.parametrize("name", LEARNED)
def test_an_error_names_a_bad_augmentation(name):
    with pytest.raises(UserError, match="unknown --augmentation 'shfit'"):
        DEFENSES.get(name).config_type(augmentation="shfit")


@pytest.mark.parametrize("kind", [APEGAN, get_defense_class("bit_depth+apegan")])
def test_a_square_as_large_as_the_images_is_refused(toy_model, toy_split, kind, tmp_path):
    with pytest.raises(UserError, match="--cutout=12: images of 12x12 given, a side below 12"):
        kind(toy_model, cutout=12).fit(toy_split, epochs=1, run=tmp_path / "run")
    with pytest.raises(UserError, match="--cutout=-1: 0 or more needed"):
        kind(toy_model, cutout=-1)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("kind", [APEGAN, get_defense_class("bit_depth+apegan")])
def test_images_of_a_dataset_that_says_so_are_not_mirrored(toy_model, toy_split, kind, tmp_path):
    digits = Split(toy_split.images, toy_split.labels, 3, dataset="digits")
    with pytest.raises(UserError, match="--mirror: a mirrored image of digits has another class"):
        kind(toy_model, mirror=True).fit(digits, epochs=1, run=tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_the_parts_of_a_composition_draw_changes_of_their_own(toy_model, toy_split):
    composition = get_defense_class("magnet+apegan")(toy_model, mirror=True, augmentation="shift")
    batch = training_batch(composition, toy_split)
    magnet, apegan = composition.parts
    replica = replica_of()
    first, second = (part.augment(batch, replica)["clean"].numpy() for part in (magnet, apegan))
    assert np.any(first != second)
    assert np.any(first != toy_split.images)


def test_the_seed_decides_which_images_are_mirrored_first(toy_model):
    defense = APEGAN(toy_model, mirror=True)
    draws = [defense.begin_augmentation(24, seed)["mirrored_first"] for seed in (0, 0, 1)]
    np.testing.assert_array_equal(draws[0], draws[1])
    assert np.any(draws[0] != draws[2])
