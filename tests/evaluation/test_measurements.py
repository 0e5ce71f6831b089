"""Rows and worst cases of results that count only some images, or none."""

import dataclasses

import numpy as np
import pytest

from tfdefense.defenses import BitDepth
from tfdefense.evaluation.measurements import Measurements
from tfdefense.evaluation.per_image_results import PerImageResults, ResultKey


@pytest.fixture
def measurements(toy_model, toy_split):
    """Measurements of three images, which are classified correctly before an attack."""
    measurements = Measurements(BitDepth(toy_model, bits=2), toy_split.take(3))
    measurements.add(ResultKey("bit_depth", "none", "none"), 0.0, make_results(measurements))
    return measurements


def make_results(measurements, wrong=(), counted=None):
    predicted = measurements.test.labels.copy()
    predicted[list(wrong)] = (predicted[list(wrong)] + 1) % 3
    results = PerImageResults(predicted, np.zeros((3, 3), np.float32))
    if counted is None:
        return results
    return dataclasses.replace(results, counted=np.isin(np.arange(3), counted))


def add(measurements, attack, epsilon, **results):
    key = ResultKey("bit_depth", attack, "grey_box")
    measurements.add(key, epsilon, make_results(measurements, **results))


def test_a_worst_case_has_the_attack_that_fools_nothing(measurements):
    add(measurements, "fgsm", 0.1, wrong=[0, 2], counted=[])
    add(measurements, "bim", 0.1, counted=[0, 1])
    measurements.add_worst_cases()
    rows = {row.attack: row for row in measurements.rows}
    assert set(rows) == {"none", "bim", "worst_case"}
    assert (rows["bim"].accuracy, rows["bim"].n) == (1.0, 2)
    # Behind the defence, FGSM fools the first of the two images.
    assert (rows["worst_case"].accuracy, rows["worst_case"].n) == (0.5, 2)
    (note,) = measurements.notes
    assert "fgsm (grey box) fools toy on none of 3 images" in note


def test_a_worst_case_has_the_largest_radius_of_its_attacks(measurements):
    for attack, epsilon in (("fgsm", 0.1), ("bim", 0.3), ("pgd", 0.2)):
        add(measurements, attack, epsilon)
    measurements.add_worst_cases()
    assert measurements.rows[-1].attack == "worst_case"
    assert measurements.rows[-1].epsilon == 0.3


def test_an_attack_without_a_radius_has_no_worst_case_beside_one_that_fools_nothing(measurements):
    add(measurements, "fgsm", 0.1, counted=[])
    add(measurements, "deepfool", None, wrong=[1], counted=[1])
    measurements.add_worst_cases()
    assert [row.attack for row in measurements.rows] == ["none", "deepfool"]


def test_images_that_are_submitted_again_cost_nothing_more(measurements):
    for threat_model, cost, wrong in (
        ("white_box", 10, [0]),
        ("white_box_eot", 100, [1]),
        ("white_box_resubmitted", 100, [1, 2]),
    ):
        costs = {"queries": np.full(3, cost), "gradients": np.full(3, cost // 2)}
        results = dataclasses.replace(make_results(measurements, wrong), **costs)
        measurements.add(ResultKey("bit_depth", "bim", threat_model), 0.1, results)
    measurements.add_worst_cases()
    worst = measurements.worst_cases["bit_depth/worst_case/any_white_box"]
    assert worst.attacks[worst.fooled_by].tolist() == [
        *("bim, white_box", "bim, white_box_eot", "bim, white_box_resubmitted")
    ]
    assert worst.queries.tolist() == [10, 110, 110]
    assert worst.gradients.tolist() == [5, 55, 55]
    alone = measurements.worst_cases["bit_depth/worst_case/white_box_resubmitted"]
    assert alone.queries.tolist() == [100, 100, 100]


def test_without_a_counted_image_there_is_no_worst_case(measurements):
    add(measurements, "fgsm", 0.1, counted=[])
    measurements.add_worst_cases()
    assert [row.attack for row in measurements.rows] == ["none"]
    assert not measurements.worst_cases
