"""AutoAttack: its parts, and its result on a linear model."""

import numpy as np
import pytest

from tests.attacks.conftest import CountingModel, LinearModel
from tfdefense.attacks import AutoAttack, Expectation


@pytest.mark.slow
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


@pytest.mark.slow
def test_on_a_linear_model_it_succeeds_within_the_distance_to_the_boundary(linear, linear_images):
    images, labels = linear_images
    distances = linear.boundary_distances(images, labels, "linf")
    epsilon = float(np.median(distances))
    found = np.asarray(AutoAttack(epsilon=epsilon).run(linear, images, labels).success)
    np.testing.assert_array_equal(found, distances < epsilon)


def test_parts_have_the_settings_of_the_published_standard():
    apgd_ce, apgd_t, fab_t, square = AutoAttack(epsilon=0.3, norm="l2", seed=5).attacks(10)
    assert (apgd_ce.steps, apgd_ce.restarts) == (100, 1)
    assert (apgd_t.steps, apgd_t.restarts, apgd_t.target_classes) == (100, 1, 9)
    assert (fab_t.steps, fab_t.target_classes) == (100, 9)
    assert (fab_t.alpha_max, fab_t.eta, fab_t.beta) == (0.1, 1.05, 0.9)
    assert (square.queries, square.first_area, square.rescale_schedule) == (5000, 0.8, False)
    assert {(part.epsilon, part.norm) for part in (apgd_ce, apgd_t, fab_t, square)} == {(0.3, "l2")}
    assert {part.seed for part in (apgd_ce, apgd_t, square)} == {5}


@pytest.mark.slow
def test_version_rand_draws_20_times_unless_the_model_is_an_expectation(linear, linear_images):
    images, labels = (array[:2] for array in linear_images)
    attack = AutoAttack(epsilon=0.3, version="rand")
    counting = CountingModel(linear)
    attack.run(counting, images, labels)  # Tracing counts once too.
    counting.reset()
    result = attack.run(counting, images, labels)
    # The query that judges the result is the only one that is not a mean over 20 draws.
    assert counting.queries.numpy() == np.sum(result.queries) + len(images)
    of_expectation = attack.run(Expectation(linear, draws=3), images, labels)
    assert np.sum(result.queries) * 3 == np.sum(of_expectation.queries) * 20


@pytest.mark.slow
def test_version_rand_attacks_expectations(victim, victim_images, victim_labels):
    names = [attack.name for attack in AutoAttack(version="rand").attacks(10)]
    assert names == ["apgd_ce", "apgd_dlr"]
    result = AutoAttack(epsilon=0.2, version="rand").run(
        Expectation(victim, draws=2), victim_images, victim_labels
    )
    assert np.mean(result.success) > 0.5
