"""AutoAttack: its parts, and its result on a linear model."""

import numpy as np
import pytest

from tests.attacks.conftest import LinearModel
from tfdefense.attacks import AutoAttack, Expectation


@pytest.mark.parametrize("classes", [2, 3, 10])
def test_it_attacks_models_with_any_number_of_classes(classes):
    model = LinearModel(shape=(6, 6, 1), classes=classes)
    images = np.random.default_rng(0).uniform(0.4, 0.6, (8, 6, 6, 1)).astype(np.float32)
    labels = np.argmax(model.numpy(images), 1).astype(np.int32)
    names = [attack.name for attack in AutoAttack(epsilon=0.3).attacks(classes)]
    middle = {2: [], 3: ["apgd_dlr"], 10: ["apgd_t"]}[classes]
    assert names == ["apgd_ce", *middle, "fab_t", "square"]
    result = AutoAttack(epsilon=0.3).run(model, images, labels)
    assert np.asarray(result.success).all()
    assert np.asarray(result.linf).max() <= 0.3 + 1e-6


def test_on_a_linear_model_it_succeeds_within_the_distance_to_the_boundary(linear, linear_images):
    images, labels = linear_images
    distances = linear.boundary_distances(images, labels, "linf")
    epsilon = float(np.median(distances))
    found = np.asarray(AutoAttack(epsilon=epsilon).run(linear, images, labels).success)
    np.testing.assert_array_equal(found, distances < epsilon)


def test_version_rand_attacks_expectations(victim, victim_images, victim_labels):
    names = [attack.name for attack in AutoAttack(version="rand").attacks(10)]
    assert names == ["apgd_ce", "apgd_dlr"]
    result = AutoAttack(epsilon=0.2, version="rand").run(
        Expectation(victim, draws=2), victim_images, victim_labels
    )
    assert np.mean(result.success) > 0.5
