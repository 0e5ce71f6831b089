import numpy as np
import pytest
import tensorflow as tf

from tfdefense.classifiers.core.augmentation import AUGMENTATIONS, Augmentation
from tfdefense.training import Replica


@pytest.mark.parametrize("name", AUGMENTATIONS)
def test_augmentation_keeps_the_range_and_depends_on_seed_and_step(digits, name):
    images = tf.constant(digits.train.images[:32])

    def at(step):
        return Augmentation(name).apply(images, Replica(0, tf.constant(step, tf.int64), 32)).numpy()

    first = at(1)
    assert first.shape == images.shape
    assert first.min() >= 0
    assert first.max() <= 1
    np.testing.assert_array_equal(first, at(1))
    assert np.array_equal(first, at(2)) == (name == "none")


def test_shifts_are_whole_pixels_and_flips_are_mirrors():
    rng = np.random.default_rng(0)
    images = rng.random((64, 16, 16, 3)).astype(np.float32)
    mirrored = tf.constant(rng.integers(0, 2, 64) == 1)
    replica = Replica(0, tf.constant(5, tf.int64), 64)
    moved = Augmentation("shift", mirror=True).apply(tf.constant(images), replica, mirrored)
    kinds = set()
    for image, result, is_mirror in zip(images, moved.numpy(), mirrored.numpy(), strict=True):
        matches = [
            (flip, down, right)
            for flip in (False, True)
            for down in range(-2, 3)
            for right in range(-2, 3)
            if np.array_equal(
                np.roll(image[:, ::-1] if flip else image, (down, right), (0, 1))[3:-3, 3:-3],
                result[3:-3, 3:-3],
            )
        ]
        assert [flip for flip, _, _ in matches] == [is_mirror]
        kinds.add(matches[0])
    assert len(kinds) > 15
    assert {flip for flip, _, _ in kinds} == {False, True}


def test_affine_augmentation_keeps_digits_in_place(digits):
    """The mean of many draws is a blurred image with the same centre."""
    image = digits.train.images[:1]
    batch = tf.constant(np.repeat(image, 400, axis=0))
    moved = Augmentation("affine").apply(batch, Replica(0, tf.constant(0, tf.int64), 400)).numpy()

    def centre(image):
        weights = image[..., 0] / image.sum()
        grid = np.arange(28)
        return np.array([(weights.sum(1) * grid).sum(), (weights.sum(0) * grid).sum()])

    np.testing.assert_allclose(centre(moved.mean(0)), centre(image[0]), atol=0.3)
    assert np.std([centre(picture) for picture in moved], axis=0).min() > 0.5
    assert moved[:, 0].max() < 0.5, "edges are filled with black"


def test_photos_keep_their_edges_and_change_in_contrast_and_brightness():
    """A picture of one value stays one: then only contrast and brightness can change it."""

    def change(value):
        replica = Replica(0, tf.constant(2, tf.int64), 500)
        return Augmentation("photo").apply(tf.fill((500, 8, 8, 3), value), replica).numpy()

    dark, bright = change(0.4), change(0.5)
    for images in (dark, bright):
        assert np.ptp(images, axis=(1, 2, 3)).max() < 1e-6
    contrast = (bright - dark)[:, 0, 0, 0] / 0.1
    brightness = dark[:, 0, 0, 0] - 0.4 * contrast
    assert 0.60 < contrast.min() < 0.65
    assert 1.55 < contrast.max() < 1.66
    assert -0.126 < brightness.min() < -0.1
    assert 0.1 < brightness.max() < 0.126


def test_a_grey_square_inside_each_image_is_cut_out():
    images = np.random.default_rng(0).random((200, 9, 12, 3)).astype(np.float32)
    replica = Replica(0, tf.constant(3, tf.int64), 200)
    results = Augmentation(cutout=4).apply(tf.constant(images), replica).numpy()
    places = set()
    for image, result in zip(images, results, strict=True):
        rows, columns = np.nonzero(np.any(result != image, axis=-1))
        top, left = rows.min(), columns.min()
        assert (rows.max() - top, columns.max() - left, len(rows)) == (3, 3, 16)
        assert np.all(result[top : top + 4, left : left + 4] == 0.5)
        places.add((top, left))
    assert {top for top, _ in places} == set(range(6))
    assert {left for _, left in places} == set(range(9))
