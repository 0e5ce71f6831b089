"""The scale of suspicion, from changes and detector scores of clean images."""

import numpy as np
import pytest
import tensorflow as tf

from tests.conftest import SHAPE
from tfdefense.data import Split
from tfdefense.defenses import AdversarialTraining, BitDepth
from tfdefense.defenses.core import suspicion
from tfdefense.defenses.core.suspicion import SuspicionScale, calibrate_suspicion, measure_changes
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
    """Changes, and scores that partly depend on them."""
    changes = rng.gamma(2, 1, count).astype(np.float32)
    scores = (changes + rng.normal(0, 2, count)).astype(np.float32)
    return changes, scores if detects else None


@pytest.mark.parametrize("detects", [False, True])
@pytest.mark.parametrize("count", [1, 7, 50, 1_000])
def test_it_is_uniform_on_the_clean_images(count, detects):
    changes, scores = values(count, detects=detects)
    found = SuspicionScale.from_values(changes, scores)(changes, scores).numpy()
    assert found.dtype == np.float32
    # Both ranks of two images can be the same; then they share the lower one.
    expected = np.float32(np.arange(count) / np.float32(count))
    ties = count - len(np.unique(found))
    assert ties <= (count // 2 if detects else 0)
    assert np.all(np.sort(found) <= expected)
    assert np.all(np.sort(found) >= expected - 2 / count)
    assert np.mean(found >= np.float32(0.99)) <= 0.01


@pytest.mark.parametrize("detects", [False, True])
def test_a_tenth_of_other_clean_images_is_above_nine_tenths(detects):
    scale = SuspicionScale.from_values(*values(1_000, detects=detects))
    found = scale(*values(5_000, detects=detects)).numpy()
    for alarm in (0.5, 0.9, 0.99):
        assert np.mean(found >= np.float32(alarm)) == pytest.approx(1 - alarm, abs=0.05 * alarm)


def test_it_is_the_share_of_smaller_changes():
    scale = SuspicionScale.from_values(np.float32([3, 1, 2, 2]), None)
    found = scale(tf.constant([0, 1, 1.5, 2, 2.5, 3, 1e9]))
    np.testing.assert_array_equal(found, np.float32([0, 0, 0.25, 0.25, 0.75, 0.75, 1]))


@pytest.mark.parametrize("detects", [False, True])
def test_nan_is_the_highest_value(detects):
    changes, scores = values(50, detects=detects)
    scale = SuspicionScale.from_values(changes, scores)
    compiled = tf.function(lambda *given: scale(*given))
    normal = tf.fill([2], 0.1)
    for function in (scale, compiled):
        assert function(tf.constant([np.nan, np.inf]), normal).numpy().tolist() == [1, 1]
        if detects:
            assert function(normal, tf.constant([np.nan, np.inf])).numpy().tolist() == [1, 1]
    changes[0] = np.nan
    with_nan = SuspicionScale.from_values(changes, scores)(tf.constant([-1.0, 1e9]), normal - 99)
    assert with_nan[0] == 0
    assert 0.9 < with_nan[1] < 1


@pytest.mark.parametrize("detects", [False, True])
def test_it_never_falls_when_change_and_score_rise(detects):
    scale = SuspicionScale.from_values(*values(200, detects=detects))
    rising = tf.linspace(-30.0, 30.0, 500)
    found = scale(rising, rising).numpy()
    assert np.all(np.diff(found) >= 0)
    assert (found[0], found[-1]) == (0, 1)
    if detects:  # Either one alone is enough for the highest value.
        assert scale([0.0], [99.0]) == scale([99.0], [-99.0]) == 1
        assert np.all(np.diff(scale(rising, tf.fill([500], 1.0)).numpy()) >= 0)


def test_images_do_not_depend_on_their_batch():
    scale = SuspicionScale.from_values(*values(300, detects=True))
    changes, scores = values(64, detects=True)
    together = scale(changes, scores).numpy()
    for parts in ([1] * 64, [3, 61], [8] * 8):
        ends = np.cumsum(parts)[:-1]
        pairs = zip(np.split(changes, ends), np.split(scores, ends), strict=True)
        np.testing.assert_array_equal(np.concatenate([scale(*pair) for pair in pairs]), together)


@pytest.mark.parametrize("kind", [Blur, Detecting])
def test_the_scale_of_a_defence_has_the_values_of_its_images(kind, toy_model, toy_split):
    defense = kind(toy_model)
    scale = calibrate_suspicion(defense, toy_split)
    change = (defense.purify(toy_split.images) - toy_split.images).numpy().reshape(24, -1)
    expected = np.sort(np.linalg.norm(change, axis=1))
    np.testing.assert_allclose(scale.changes, expected, rtol=1e-5)
    assert (scale.scores is not None) == defense.detects
    assert scale.images == "validation images of toy"
    found = scale(*measure_changes(defense, toy_split.images)).numpy()
    assert len(scale) == 24
    assert found.min() == 0
    assert 20 / 24 <= found.max() < 1


def test_images_are_taken_from_the_whole_split(toy_model, monkeypatch):
    monkeypatch.setattr(suspicion, "MAX_IMAGES", 3)
    levels = np.linspace(0.1, 0.5, 5, dtype=np.float32).reshape(-1, 1, 1, 1)
    split = Split(np.broadcast_to(levels, (5, *SHAPE)), np.zeros(5, np.int32), 3)
    scale = calibrate_suspicion(Detecting(toy_model), split)
    np.testing.assert_allclose(scale.scores, [-0.4, -0.2, 0.0], atol=1e-6)


def test_a_defence_that_changes_nothing_has_none(toy_model, toy_split):
    assert calibrate_suspicion(AdversarialTraining(toy_model), toy_split) is None


def test_a_defence_that_changes_only_other_images_has_one(toy_model, toy_split):
    black_and_white = Split(np.round(toy_split.images), toy_split.labels, 3)
    scale = calibrate_suspicion(BitDepth(toy_model, bits=1), black_and_white)
    np.testing.assert_array_equal(scale(tf.constant([0.0, 0.1])), [0, 1])


def test_images_of_another_shape_are_refused(toy_model):
    split = Split(np.zeros((2, 8, 8, 1), np.float32), np.zeros(2, np.int32), 3)
    with pytest.raises(UserError, match=r"images of \(8, 8, 1\) given, \(12, 12, 1\) needed"):
        calibrate_suspicion(Blur(toy_model), split)
