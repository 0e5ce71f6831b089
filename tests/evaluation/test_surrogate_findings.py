"""Findings of surrogates, computed from results per image and from a real attack."""

import numpy as np
import pytest
import tensorflow as tf

from tests.evaluation.checks.planted_flaws import PlantedDefense
from tfdefense.attacks import BIM, FGSM, DeepFool, Square, bpda
from tfdefense.evaluation import AttackPlan, Report
from tfdefense.evaluation.checks.run import CheckSettings
from tfdefense.evaluation.evaluate_defense import evaluate_plan
from tfdefense.evaluation.measurements import Measurements
from tfdefense.evaluation.per_image_results import PerImageResults, ResultKey
from tfdefense.evaluation.predictions_file import load_predictions, save_predictions
from tfdefense.evaluation.surrogate_findings import (
    ANOTHER_DRAW,
    SurrogateFinding,
    measure_surrogates,
)

NAMES = np.array(["leaky", "smooth"])
CLEAN = ResultKey("planted", "none", "none")


@pytest.fixture
def measurements(toy_model, toy_split):
    return Measurements(PlantedDefense(toy_model, tf.identity), toy_split.take(6))


def results(labels, fooled, surrogate=None):
    """Return results of 6 images; those with an index in `fooled` are misclassified."""
    predicted = labels.copy()
    predicted[fooled] += 1
    index = np.full(6, -1) if surrogate is None else np.array(surrogate)
    names = None if surrogate is None else NAMES
    return PerImageResults(predicted, np.zeros((6, 3)), surrogate=index, surrogates=names)


def test_each_image_is_counted_for_the_gradient_that_fooled_it_first(measurements):
    labels = measurements.test.labels
    measurements.add(CLEAN, 0.0, results(labels, [5]))
    first, second, third = (
        ResultKey("planted", name, "white_box") for name in ("bim", "pgd", "square")
    )
    measurements.add(first, 0.3, results(labels, [0, 1, 5], [0, 1, -1, -1, -1, 0]))
    measurements.add(second, 0.3, results(labels, [1, 2, 5], [-1, 0, 1, -1, -1, 0]))
    measurements.add(third, 0.3, results(labels, [3, 5]))
    measurements.add_worst_cases()
    bim, pgd, worst_case = measure_surrogates(measurements, "planted")
    assert bim == SurrogateFinding("bim", "white_box", 6, 3 / 6, 4 / 6, {"leaky": 1, "smooth": 1})
    assert pgd.fooled == {"leaky": 1, "smooth": 1}
    # The first attack fools image 1 through "smooth", but the second one also through "leaky".
    # Square fools image 3 without any gradient.
    assert worst_case.attack == "worst_case"
    assert (worst_case.accuracy, worst_case.first_accuracy) == (1 / 6, 2 / 6)
    assert worst_case.fooled == {"leaky": 1, "smooth": 2}
    assert measure_surrogates(measurements, "other") == ()


def test_without_a_radius_there_is_no_accuracy_of_the_first_gradient(measurements):
    labels = measurements.test.labels
    measurements.add(CLEAN, 0.0, results(labels, []))
    key = ResultKey("planted", "deepfool", "white_box")
    measurements.add(key, None, results(labels, [0, 1], [1, 0, -1, -1, -1, -1]))
    (finding,) = measure_surrogates(measurements, "planted")
    assert finding.first_accuracy is None
    assert finding.fooled == {"leaky": 1, "smooth": 1}


def test_attack_with_parts_has_no_accuracy_of_the_first_gradient(measurements):
    """An image that its first part fools through "smooth" is lost to its later parts."""
    labels = measurements.test.labels
    measurements.add(CLEAN, 0.0, results(labels, []))
    for name in ("bim", "auto_attack"):
        key = ResultKey("planted", name, "white_box")
        measurements.add(key, 0.3, results(labels, [0, 1], [0, 1, -1, -1, -1, -1]))
    measurements.add_worst_cases()
    bim, joined, worst_case = measure_surrogates(measurements, "planted", {"auto_attack"})
    assert bim.first_accuracy == 5 / 6
    assert joined.first_accuracy is worst_case.first_accuracy is None
    assert joined.fooled == {"leaky": 1, "smooth": 1}


def test_images_that_only_the_deciding_draw_gets_wrong_have_a_name(measurements):
    labels = measurements.test.labels
    measurements.add(CLEAN, 0.0, results(labels, [5]))
    bim, square = (ResultKey("planted", name, "white_box_eot") for name in ("bim", "square"))
    # The draws of the attacker withstand images 2 and 5; the deciding draw withstands image 3.
    measurements.add(bim, 0.3, results(labels, [0, 1, 2, 5], [0, 1, -1, 1, -1, -1]))
    measurements.add(square, 0.3, results(labels, [4, 5]))
    measurements.add_worst_cases()
    first, worst_case = measure_surrogates(measurements, "planted")
    assert first.first_accuracy is worst_case.first_accuracy is None
    assert (first.accuracy, worst_case.accuracy) == (2 / 6, 1 / 6)
    assert first.fooled == worst_case.fooled == {"leaky": 1, "smooth": 1, ANOTHER_DRAW: 1}


@pytest.fixture(scope="module")
def misled_report(toy_model, toy_split):
    """Report of a pipeline whose default gradient points the wrong way, under white-box attacks."""
    step = bpda(tf.identity, {"opposite": tf.negative, "right": None})
    defense = PlantedDefense(toy_model, step)
    attacks = (BIM(epsilon=0.3), Square(epsilon=0.02, queries=2), DeepFool(steps=5))
    plan = AttackPlan(attacks, checks=CheckSettings(("none",)))
    return evaluate_plan(defense, toy_split, plan)


@pytest.mark.slow
def test_a_report_attacks_through_all_surrogates(misled_report, toy_split):
    rows = {row.attack: row for row in misled_report.rows if row.threat_model == "white_box"}
    undefended = misled_report.existing_row("none", "bim", "white_box")
    assert rows["bim"].accuracy == undefended.accuracy < 0.5
    found = {each.attack: each for each in misled_report.surrogates}
    assert found.keys() == {"bim", "deepfool:steps=5", "worst_case"}
    assert found["bim"].first_accuracy == 1
    right = round((1 - undefended.accuracy) * len(toy_split))
    assert found["worst_case"].fooled == {"opposite": 0, "right": right}
    assert Report.from_json(misled_report.to_json()).surrogates == misled_report.surrogates


@pytest.mark.slow
def test_predictions_have_the_surrogate_of_each_image(misled_report, tmp_path):
    path = tmp_path / "predictions.npz"
    save_predictions(path, misled_report.labels, misled_report.per_image)
    predictions = load_predictions(path)["planted", "bim", "white_box"]
    fooled = predictions.results.predicted != misled_report.labels
    np.testing.assert_array_equal(predictions.surrogate == "right", fooled)


@pytest.mark.slow
def test_fewer_surrogates_make_a_weaker_report_with_a_note(toy_model, toy_split):
    step = bpda(tf.identity, {"opposite": tf.negative, "right": None})
    plan = AttackPlan(
        (FGSM(epsilon=0.3),), checks=CheckSettings(("none",)), surrogates=("opposite",)
    )
    report = evaluate_plan(PlantedDefense(toy_model, step), toy_split, plan)
    assert report.existing_row("planted", "fgsm", "white_box").accuracy == 1
    assert report.surrogates == ()
    assert any("opposite only" in note for note in report.notes)
