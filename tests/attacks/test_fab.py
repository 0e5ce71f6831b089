"""FAB against closed forms and against DeepFool."""

import numpy as np
import pytest

from tfdefense.attacks import FABT, DeepFool


@pytest.mark.slow
@pytest.mark.parametrize("norm", ["linf", "l2"])
def test_on_a_linear_model_it_finds_the_nearest_boundary(norm, linear, linear_images):
    images, labels = linear_images
    result = FABT(norm=norm, steps=60).run(linear, images, labels)
    assert np.asarray(result.success).all()
    expected = linear.boundary_distances(images, labels, norm)
    np.testing.assert_allclose(getattr(result, norm), expected, rtol=0.03)


@pytest.mark.slow
@pytest.mark.parametrize("norm", ["linf", "l2"])
def test_perturbations_are_smaller_than_those_of_deepfool(
    norm, victim, victim_images, victim_labels
):
    of_deepfool = getattr(DeepFool(norm=norm).run(victim, victim_images, victim_labels), norm)
    of_fab = getattr(FABT(norm=norm).run(victim, victim_images, victim_labels), norm)
    assert np.mean(of_fab) < np.mean(of_deepfool)


@pytest.mark.slow
def test_with_a_radius_images_without_a_point_within_it_are_unchanged(
    victim, victim_images, victim_labels
):
    unbounded = FABT(steps=40).run(victim, victim_images, victim_labels)
    radius = float(np.median(unbounded.linf))
    bounded = FABT(epsilon=radius * 1.001, steps=40).run(victim, victim_images, victim_labels)
    assert np.asarray(bounded.linf).max() <= radius * 1.001
    within = np.asarray(unbounded.linf) <= radius
    np.testing.assert_array_equal(bounded.success, within)
    np.testing.assert_array_equal(bounded.images[~within], victim_images[~within])
    assert np.mean(bounded.gradients) < np.mean(unbounded.gradients)
