import numpy as np
import pytest
import scipy.ndimage
import tensorflow as tf

from tfdefense.classifiers import FrozenClassifier
from tfdefense.defenses import SpatialSmoothing
from tfdefense.errors import UserError

IMAGES = np.random.default_rng(0).random((5, 7, 9, 3)).astype(np.float32)


def make(**hyperparameters):
    classifier = FrozenClassifier(lambda images: images[:, 0, 0, :], (7, 9, 3))
    return SpatialSmoothing(classifier, **hyperparameters)


@pytest.mark.parametrize("window", [1, 2, 3, 4, 5])
def test_it_is_the_median_filter_of_scipy(window):
    purified = make(window=window).purify(IMAGES)
    expected = scipy.ndimage.median_filter(IMAGES, size=(1, window, window, 1), mode="reflect")
    np.testing.assert_array_equal(purified, expected)


@pytest.mark.parametrize("window", [2, 3])
def test_its_gradient_is_that_of_the_median_filter(window):
    defense = make(window=window)
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


def test_the_result_for_an_image_does_not_depend_on_its_batch():
    together = make().purify(IMAGES).numpy()
    for index in range(len(IMAGES)):
        alone = make().purify(IMAGES[index : index + 1]).numpy()
        np.testing.assert_array_equal(together[index : index + 1], alone)


def test_the_largest_window_is_mirrored_once():
    assert make(window=15).purify(IMAGES).shape == IMAGES.shape


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"window": 0}, "--window=0: at least 1"),
        ({"window": 16}, r"--window=16: at most 15 is allowed for images of \(7, 9"),
        ({"bits": 1}, "unknown hyperparameter of spatial_smoothing 'bits'"),
    ],
)
def test_an_error_names_the_bad_hyperparameter(given, message):
    with pytest.raises(UserError, match=message):
        make(**given)
