import numpy as np
import pytest
import scipy.ndimage
import tensorflow as tf

import tfdefense
from tests.conftest import SHAPE
from tfdefense.classifiers import FrozenClassifier
from tfdefense.errors import UserError

IMAGES = np.random.default_rng(0).random((5, 7, 9, 3)).astype(np.float32)


def first_pixels(images):
    return images[:, 0, 0, :]


def make(name, shape=(7, 9, 3), **hyperparameters):
    return tfdefense.defenses.DEFENSES.get(name)(
        FrozenClassifier(first_pixels, shape), **hyperparameters
    )


@pytest.mark.parametrize("bits", [1, 2, 5, 8])
def test_bit_depth_leaves_so_many_levels(bits):
    images = np.linspace(0, 1, 1001, dtype=np.float32).reshape(1, 7, 11, 13)[..., :1]
    purified = make("bit_depth", (7, 11, 1), bits=bits).purify(images).numpy()
    levels = np.arange(2**bits) / (2**bits - 1)
    nearest = np.abs(images[..., np.newaxis] - levels).min(-1)
    np.testing.assert_allclose(np.abs(purified - images), nearest, atol=1e-6)
    assert set(np.round(purified.ravel() * (2**bits - 1), 4)) <= set(range(2**bits))


def test_bit_depth_is_attacked_through_the_identity():
    defense = make("bit_depth", bits=2)
    images = tf.constant(IMAGES)
    with tf.GradientTape() as tape:
        tape.watch(images)
        total = tf.reduce_sum(defense.purify(images) * IMAGES)
    np.testing.assert_array_equal(tape.gradient(total, images), IMAGES)


def test_bits_by_default_are_fewer_for_grey_images():
    assert make("bit_depth", (*SHAPE[:2], 1)).bits == 1
    assert make("bit_depth").bits == 5


@pytest.mark.parametrize("window", [1, 2, 3, 4, 5])
def test_spatial_smoothing_is_scipys_median(window):
    purified = make("spatial_smoothing", window=window).purify(IMAGES)
    expected = scipy.ndimage.median_filter(IMAGES, size=(1, window, window, 1), mode="reflect")
    np.testing.assert_array_equal(purified, expected)


@pytest.mark.parametrize("window", [2, 3])
def test_gradient_of_the_median_is_its_pixels(window):
    defense = make("spatial_smoothing", window=window)
    images, direction = tf.constant(IMAGES), np.random.default_rng(1).standard_normal(IMAGES.shape)
    with tf.GradientTape() as tape:
        tape.watch(images)
        total = tf.reduce_sum(defense.purify(images) * direction)
    slope = tf.reduce_sum(tape.gradient(total, images) * direction)
    step = 1e-5 * direction
    ahead, behind = (
        np.sum(scipy.ndimage.median_filter(x, (1, window, window, 1)) * direction)
        for x in (IMAGES + step, IMAGES - step)
    )
    np.testing.assert_allclose(slope, (ahead - behind) / 2e-5, rtol=1e-3)


@pytest.mark.parametrize("name", ["bit_depth", "spatial_smoothing"])
def test_an_images_answer_does_not_depend_on_its_batch(name):
    defense = make(name)
    together = defense.purify(IMAGES).numpy()
    for index in range(len(IMAGES)):
        alone = defense.purify(IMAGES[index : index + 1]).numpy()
        np.testing.assert_array_equal(together[index : index + 1], alone)


@pytest.mark.parametrize(
    ("name", "given", "message"),
    [
        ("bit_depth", {"bits": 0}, "--bits=0: 1 to 8 needed"),
        ("bit_depth", {"bits": 9}, "--bits=9: 1 to 8 needed"),
        ("spatial_smoothing", {"window": 0}, "--window=0: at least 1"),
        (
            "spatial_smoothing",
            {"window": 16},
            r"--window=16: at most 14 needed for images of \(7, 9",
        ),
        ("spatial_smoothing", {"bits": 1}, "unknown hyperparameter of spatial_smoothing 'bits'"),
    ],
)
def test_bad_hyperparameters_are_named(name, given, message):
    with pytest.raises(UserError, match=message):
        make(name, **given)
