"""The scale of suspicion, from changes, distances and detector scores of clean images."""

import itertools

import numpy as np
import pytest
import scipy.special
import tensorflow as tf

from tests.conftest import SHAPE, make_toy_model
from tfdefense.data import Split
from tfdefense.defenses import AdversarialTraining, BitDepth
from tfdefense.defenses.core import suspicion
from tfdefense.defenses.core.suspicion import (
    SMALLEST_DISAGREEMENT,
    SuspicionScale,
    calibrate_suspicion,
    measure_suspicion_values,
    total_variation_distances,
)
from tfdefense.errors import UserError

RNG = np.random.default_rng(0)


class Blur(BitDepth):
    """Mean of 3x3 pixels, which changes every image."""

    name = "blur"

    def purify(self, images):
        return tf.nn.avg_pool2d(images, 3, 1, "SAME")


class Detecting(Blur):
    """Blur with a detector of bright images."""

    name = "detecting"
    detects = True

    def detector_score(self, images):
        return tf.reduce_mean(images, axis=(1, 2, 3)) - 0.5


def values(count, *, detects, rng=RNG):
    """Changes, distances, and scores that partly depend on the changes."""
    changes = rng.gamma(2, 1, count).astype(np.float32)
    scores = (changes + rng.normal(0, 2, count)).astype(np.float32)
    found = {"change": changes, "disagreement": rng.beta(1, 20, count).astype(np.float32)}
    return {**found, "score": scores} if detects else found


def select(found, rows):
    return {name: each[rows] for name, each in found.items()}


def only_changes(*changes):
    return {"change": np.float32(changes)}


@pytest.mark.parametrize("detects", [False, True])
@pytest.mark.parametrize("count", [1, 7, 50, 1_000])
def test_it_is_uniform_on_the_clean_images(count, detects):
    clean = values(count, detects=detects)
    found = SuspicionScale.from_values(clean)(clean).numpy()
    assert found.dtype == np.float32
    # The largest ranks of some images can be the same; then they share the lowest place.
    expected = np.float32(np.arange(count) / np.float32(count))
    assert count - len(np.unique(found)) <= count * (len(clean) - 1) // len(clean)
    assert np.all(np.sort(found) <= expected)
    assert np.all(np.sort(found) >= expected - len(clean) / count)
    assert np.mean(found >= np.float32(0.99)) <= 0.01


@pytest.mark.parametrize("detects", [False, True])
def test_a_tenth_of_other_clean_images_is_above_nine_tenths(detects):
    found = []
    for _ in range(20):
        scale = SuspicionScale.from_values(values(1_000, detects=detects))
        found.append(scale(values(1_000, detects=detects)).numpy())
    for alarm in (0.5, 0.9, 0.99):
        share = np.mean(np.array(found) >= np.float32(alarm))
        assert share == pytest.approx(1 - alarm, abs=0.035 * (1 - alarm) ** 0.5)


def test_it_is_the_share_of_smaller_changes():
    scale = SuspicionScale.from_values(only_changes(3, 1, 2, 2))
    found = scale(only_changes(0, 1, 1.5, 2, 2.5, 3, 1e9))
    np.testing.assert_array_equal(found, np.float32([0, 0, 0.25, 0.25, 0.75, 0.75, 1]))


def test_the_largest_share_counts_and_is_ranked_again():
    clean = {"change": np.float32([1, 2, 3, 4]), "disagreement": np.float32([0.4, 0, 0, 0.1])}
    # The largest ranks are 3, 1, 2, 3.
    scale = SuspicionScale.from_values(clean)
    np.testing.assert_array_equal(scale(clean), np.float32([0.5, 0, 0.25, 0.5]))
    for change, disagreement, expected in ((0, 0, 0), (0, 0.9, 1), (9, 0, 1), (2.5, 0.05, 0.25)):
        given = {"change": [change], "disagreement": [disagreement]}
        assert (
            scale({name: tf.constant(each, tf.float32) for name, each in given.items()}) == expected
        )


def test_disagreement_is_the_total_variation_distance():
    first, second = np.float32(RNG.normal(0, 2, (2, 50, 4)))
    probabilities = scipy.special.softmax(first, -1), scipy.special.softmax(second, -1)
    # The largest difference of the probabilities of a set of classes.
    sets = np.array(list(itertools.product([0, 1], repeat=4)), np.float32)
    expected = np.max((probabilities[0] - probabilities[1]) @ sets.T, axis=-1)
    np.testing.assert_allclose(total_variation_distances(first, second), expected, atol=1e-6)
    # Between logits [0, 0] and [0, 4 d], the distance is d for small d.
    level = np.float32([[0, 0]])
    for factor, counts in ((0.9, False), (1.1, True)):
        nearly = np.float32([[0, 4 * factor * SMALLEST_DISAGREEMENT]])
        assert (total_variation_distances(level, nearly) > 0) == counts
    assert np.isnan(total_variation_distances(np.float32([[np.nan, 0]]), level)[0])


@pytest.mark.parametrize("detects", [False, True])
def test_nan_is_the_highest_value(detects):
    clean = values(50, detects=detects)
    scale = SuspicionScale.from_values(clean)
    normal = dict.fromkeys(clean, tf.constant([-99.0, -99.0]))
    for function in (scale, tf.function(lambda given: scale(given))):
        for name in clean:
            found = function({**normal, name: tf.constant([np.nan, np.inf])})
            assert found.numpy().tolist() == [1, 1], name
    clean["change"][0] = np.nan
    found = SuspicionScale.from_values(clean)({**normal, "change": tf.constant([-1.0, 1e9])})
    assert found[0] == 0
    assert 0.9 < found[1] < 1


@pytest.mark.parametrize("detects", [False, True])
def test_it_never_falls_when_a_value_rises(detects):
    clean = values(200, detects=detects)
    scale = SuspicionScale.from_values(clean)
    rising = tf.linspace(-30.0, 30.0, 500)
    found = scale(dict.fromkeys(clean, rising)).numpy()
    assert np.all(np.diff(found) >= 0)
    assert (found[0], found[-1]) == (0, 1)
    medians = {name: tf.fill([500], np.median(each)) for name, each in clean.items()}
    for name in clean:  # Each one alone is enough for the highest value.
        found = scale({**medians, name: rising}).numpy()
        assert np.all(np.diff(found) >= 0)
        assert found[-1] == 1


def test_images_do_not_depend_on_their_batch():
    scale = SuspicionScale.from_values(values(300, detects=True))
    images = values(64, detects=True)
    together = scale(images).numpy()
    for parts in ([1] * 64, [3, 61], [8] * 8):
        rows = np.split(np.arange(64), np.cumsum(parts)[:-1])
        found = np.concatenate([scale(select(images, each)) for each in rows])
        np.testing.assert_array_equal(found, together)


@pytest.mark.parametrize("kind", [Blur, Detecting])
def test_the_scale_of_a_defence_has_the_values_of_its_images(kind, toy_model, toy_split):
    defense = kind(toy_model)
    scale = calibrate_suspicion(defense.defend(), toy_split)
    purified = defense.purify(toy_split.images)
    change = (purified - toy_split.images).numpy().reshape(24, -1)
    expected = np.sort(np.linalg.norm(change, axis=1))
    np.testing.assert_allclose(scale.values["change"], expected, rtol=1e-5)
    answers = [scipy.special.softmax(toy_model(each), -1) for each in (toy_split.images, purified)]
    distances = np.abs(answers[0] - answers[1]).sum(-1) / 2
    expected = np.sort(np.where(distances < SMALLEST_DISAGREEMENT, 0, distances))
    np.testing.assert_allclose(scale.values["disagreement"], expected, atol=1e-6)
    assert ("score" in scale.values) == defense.detects
    assert scale.images == "validation images of toy"
    found = scale(measure_suspicion_values(defense.defend(), toy_split.images)).numpy()
    assert len(scale) == 24
    assert found.min() == 0
    assert 20 / 24 <= found.max() < 1


def test_the_classifier_is_that_of_the_pipeline(toy_model, toy_split):
    """It may be another one than the purifier was trained with."""
    other = make_toy_model()
    usual, moved = (
        calibrate_suspicion(Blur(each).defend(), toy_split) for each in (toy_model, other)
    )
    found = calibrate_suspicion(Blur(toy_model).defend(other), toy_split).values["disagreement"]
    np.testing.assert_array_equal(found, moved.values["disagreement"])
    assert np.any(found != usual.values["disagreement"])


def test_images_are_taken_from_the_whole_split(toy_model, monkeypatch):
    monkeypatch.setattr(suspicion, "MAX_IMAGES", 3)
    levels = np.linspace(0.1, 0.5, 5, dtype=np.float32).reshape(-1, 1, 1, 1)
    split = Split(np.broadcast_to(levels, (5, *SHAPE)), np.zeros(5, np.int32), 3)
    scale = calibrate_suspicion(Detecting(toy_model).defend(), split)
    np.testing.assert_allclose(scale.values["score"], [-0.4, -0.2, 0.0], atol=1e-6)


def test_images_on_disk_are_read_batch_by_batch(
    toy_model, toy_split, toy_split_on_disk, monkeypatch
):
    monkeypatch.setattr(suspicion, "fitting_batch_size", lambda *_: 5)
    pipeline, (on_disk, counts) = Blur(toy_model).defend(), toy_split_on_disk
    found, expected = (calibrate_suspicion(pipeline, split) for split in (on_disk, toy_split))
    np.testing.assert_array_equal(found.values["change"], expected.values["change"])
    assert max(counts) == 5


def test_a_defence_that_changes_nothing_has_none(toy_model, toy_split):
    assert calibrate_suspicion(AdversarialTraining(toy_model).defend(), toy_split) is None


def test_a_defence_that_changes_only_other_images_has_one(toy_model, toy_split):
    black_and_white = Split(np.round(toy_split.images), toy_split.labels, 3)
    scale = calibrate_suspicion(BitDepth(toy_model, bits=1).defend(), black_and_white)
    given = {"change": tf.constant([0.0, 0.1, 0.0]), "disagreement": tf.constant([0.0, 0.0, 0.1])}
    np.testing.assert_array_equal(scale(given), [0, 1, 1])


def test_images_of_another_shape_are_refused(toy_model):
    split = Split(np.zeros((2, 8, 8, 1), np.float32), np.zeros(2, np.int32), 3)
    with pytest.raises(UserError, match=r"images of \(8, 8, 1\) given, \(12, 12, 1\) needed"):
        calibrate_suspicion(Blur(toy_model).defend(), split)
