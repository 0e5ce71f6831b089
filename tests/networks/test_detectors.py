import numpy as np
import pytest
import scipy.spatial.distance
import scipy.special
import tensorflow as tf

from tfdefense.networks.detectors import (
    DetectorThresholds,
    jensen_shannon_divergence,
    reconstruction_error,
)

RNG = np.random.default_rng(0)


@pytest.mark.parametrize("scale", [0.1, 1.0, 30.0])
def test_the_divergence_is_that_of_scipy(scale):
    ours, theirs = (scale * RNG.standard_normal((20, 7)).astype(np.float32) for _ in range(2))
    expected = scipy.spatial.distance.jensenshannon(
        scipy.special.softmax(ours.astype(np.float64), -1),
        scipy.special.softmax(theirs.astype(np.float64), -1),
        axis=-1,
    )
    np.testing.assert_allclose(
        jensen_shannon_divergence(ours, theirs), expected**2, rtol=2e-3, atol=1e-6
    )
    assert np.all(jensen_shannon_divergence(ours, ours) < 1e-6)


def test_the_divergence_of_certain_softmaxes_has_a_finite_gradient():
    logits = tf.Variable([[200.0, 0.0, -200.0]])
    with tf.GradientTape() as tape:
        loss = jensen_shannon_divergence(logits, tf.constant([[0.0, 200.0, 0.0]]))
    assert np.all(np.isfinite(tape.gradient(loss, logits)))
    np.testing.assert_allclose(loss, np.log(2), rtol=1e-5)


@pytest.mark.parametrize("power", [1, 2])
def test_the_reconstruction_error_is_the_mean_over_pixels_and_channels(power):
    images, rebuilt = RNG.random((2, 5, 4, 6, 3), np.float32)
    expected = (np.abs(images - rebuilt) ** power).reshape(5, -1).mean(-1)
    np.testing.assert_allclose(reconstruction_error(images, rebuilt, power), expected, rtol=1e-5)


def test_scores_are_divided_by_their_thresholds():
    thresholds = DetectorThresholds(2)
    np.testing.assert_array_equal(thresholds(tf.constant([[3.0, 4.0]])), [[3.0, 4.0]])
    thresholds.assign(np.float32([3.0, 2.0]))
    np.testing.assert_array_equal(thresholds(tf.constant([[3.0, 4.0]])), [[1.0, 2.0]])
