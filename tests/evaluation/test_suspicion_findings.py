"""The table of suspicion: from results per image, and of a purifier that moves attacked images."""

import dataclasses
import json

import numpy as np
import pytest
import tensorflow as tf

from tests.evaluation.checks.planted_flaws import PlantedDefense, identity
from tfdefense.attacks import BIM, FGSM
from tfdefense.classifiers import FrozenClassifier
from tfdefense.cli.printing import print_report
from tfdefense.data import Dataset, Split
from tfdefense.defenses.core.suspicion import (
    SuspicionScale,
    calibrate_suspicion,
    measure_suspicion_values,
)
from tfdefense.evaluation import AttackPlan, Report
from tfdefense.evaluation.cautious_attack import CautiousPipeline
from tfdefense.evaluation.checks.settings import CheckSettings
from tfdefense.evaluation.detection import area_under_roc
from tfdefense.evaluation.evaluate_defense import evaluate_plan
from tfdefense.evaluation.measurements import Measurements
from tfdefense.evaluation.per_image_results import REFUSED, PerImageResults, ResultKey
from tfdefense.evaluation.protocol import EvaluationConfig
from tfdefense.evaluation.report.render import to_html, to_markdown
from tfdefense.evaluation.suspicion_findings import (
    ADAPTIVE,
    CautiousResults,
    SuspicionFinding,
    measure_suspicion,
)

SCALE = SuspicionScale.from_values(
    {"change": np.arange(100, dtype=np.float32), "disagreement": np.zeros(100, np.float32)}
)


def blur(images):
    """A purifier that changes noisy images most."""
    return tf.nn.avg_pool2d(images, 3, 1, "SAME")


class Detecting(PlantedDefense):
    """Blur with a detector of bright images."""

    detects = True

    def __init__(self, classifier):
        super().__init__(classifier, blur)

    def detector_score(self, images):
        return tf.reduce_mean(images, axis=(1, 2, 3)) - 0.9


@pytest.fixture
def measurements(toy_model, toy_split):
    return Measurements(PlantedDefense(toy_model, identity), toy_split.take(4))


def results(labels, wrong, changes, **others):
    """Return results of 4 images; those with an index in `wrong` are misclassified."""
    predicted = labels.copy()
    predicted[wrong] += 1
    values = {"change": np.array(changes, np.float32), "disagreement": np.zeros(4, np.float32)}
    return PerImageResults(predicted, np.zeros((4, 3)), **values, **others)


def test_each_share_follows_from_the_images(measurements):
    labels = measurements.test.labels
    measurements.add(ResultKey("p", "none", "none"), 0.0, results(labels, [3], [10, 20, 30, 99.5]))
    for attack, wrong in (("fgsm", [0]), ("bim", [0, 1, 2]), ("pgd", [0, 1, 2])):
        for threat_model in ("grey_box", "white_box"):
            key = ResultKey("p", attack, threat_model)
            measurements.add(key, 0.1, results(labels, wrong, [99.5, 99, 25, 98]))
    measurements.add_worst_cases()
    cautious = CautiousResults("pgd", results(labels, [0, 1], [0, 99.5, 0, 0]))
    found = measure_suspicion(measurements, "p", SCALE, cautious)
    assert [(each.attack, each.threat_model) for each in found] == [
        ("none", "none"),
        ("bim", "grey_box"),
        ("bim", "white_box"),
        ("pgd", ADAPTIVE),
    ]
    clean, grey_box, white_box, adaptive = found
    assert clean == SuspicionFinding("none", "none", 4, 0.75, None, None, None, 0.25, 0, 100)
    assert dataclasses.replace(grey_box, threat_model="white_box") == white_box
    # Of 16 pairs of an attacked and a clean image, 11 have the attacked one above, and one is equal.
    assert grey_box.auc == 11.5 / 16
    # 99 is an alarm, because 99 of 100 clean images were changed less; 98 is none.
    assert (grey_box.alarms, grey_box.missed, grey_box.accuracy) == (0.5, 0.25, 0.25)
    assert (adaptive.alarms, adaptive.missed, adaptive.accuracy) == (0.25, 0.25, 0.5)


def test_only_counted_images_count_and_refused_ones_are_correct(measurements):
    labels = measurements.test.labels
    measurements.add(ResultKey("p", "none", "none"), 0.0, results(labels, [], [1, 2, 3, 4]))
    refused = results(labels, [1], [0, 0, 99.5, 99.5], counted=np.array([True, True, True, False]))
    refused.predicted[0] = REFUSED
    measurements.add(ResultKey("p", "bim", "white_box"), 0.1, refused)
    clean, attacked = measure_suspicion(measurements, "p", SCALE)
    assert (clean.accuracy, attacked.n) == (1, 3)
    assert (attacked.accuracy, attacked.alarms, attacked.missed) == pytest.approx(
        (2 / 3, 1 / 3, 1 / 3)
    )


def test_the_interval_is_that_of_hanley_and_mcneil():
    clean, attacked = np.array([1.0, 2, 3, 4, 5]), np.array([2.5, 3.5, 4.5, 5.5])
    area, low, high = area_under_roc(clean, attacked)
    assert area == pytest.approx(14 / 20)
    q1, q2 = 0.7 / 1.3, 2 * 0.49 / 1.7
    error = np.sqrt((0.21 + 3 * (q1 - 0.49) + 4 * (q2 - 0.49)) / 20)
    assert (low, high) == pytest.approx((0.7 - 1.96 * error, min(1, 0.7 + 1.96 * error)))
    assert area_under_roc(clean, attacked + 9) == (1, 1, 1)


@pytest.mark.parametrize("detects", [False, True])
def test_the_further_logit_is_highest_exactly_where_suspicion_is(toy_model, toy_split, detects):
    defense = Detecting(toy_model) if detects else PlantedDefense(toy_model, blur)
    scale = calibrate_suspicion(defense.defend(), toy_split)
    pipeline = CautiousPipeline(defense.defend(), scale)
    rng = np.random.default_rng(0)
    noise = rng.uniform(-0.3, 0.3, toy_split.images.shape).astype(np.float32)
    images = np.clip(np.concatenate([toy_split.images, toy_split.images + noise]), 0, 1)
    values = measure_suspicion_values(defense.defend(), images)
    assert values.keys() == scale.values.keys()
    assert ("score" in values) == detects
    too_high = {name: each > np.quantile(scale.values[name], 0.9) for name, each in values.items()}
    expected = np.any(list(too_high.values()), axis=0)
    assert np.any(too_high["disagreement"] & ~too_high["change"])
    is_suspected = pipeline(tf.constant(images)).numpy().argmax(-1) == toy_split.num_classes
    np.testing.assert_array_equal(is_suspected, expected)
    assert 0 < expected.sum() < 48


def test_a_certain_answer_of_one_model_has_a_gradient(toy_model, toy_split):
    """The attack needs it where classifier and pipeline are certain of two classes."""

    def certain(images):
        return 200 * toy_model(images)

    defense = PlantedDefense(FrozenClassifier(certain, toy_split.image_shape), lambda x: 1 - x)
    values = measure_suspicion_values(defense.defend(), toy_split.images)
    far = values["disagreement"] == 1
    assert far.any()
    scale = SuspicionScale.from_values({**values, "disagreement": np.zeros(24, np.float32)})
    images = tf.constant(toy_split.images[far])
    pipeline = CautiousPipeline(defense.defend(), scale)
    with tf.GradientTape() as tape:
        tape.watch(images)
        logits = pipeline(images)
        suspected = tf.reduce_sum(logits[:, -1] - tf.reduce_max(logits[:, :-1], axis=-1))
    gradient = tape.gradient(suspected, images).numpy()
    assert np.all(np.isfinite(gradient))
    assert np.all(np.abs(gradient).max(axis=(1, 2, 3)) > 0)
    # The classes are those of the pipeline, so a success of the attack is one.
    expected = tf.nn.log_softmax(defense.defend()(images))
    np.testing.assert_allclose(logits[:, :-1], expected, rtol=1e-4, atol=1e-4)


@pytest.fixture(scope="module")
def evaluate_with(toy_model, toy_split):
    """Return the report of a blur with these checks."""

    def evaluate_with(*names, function=blur):
        attacks = (FGSM(epsilon=0.25), BIM(epsilon=0.25))
        plan = AttackPlan(attacks, checks=CheckSettings(names, 12), validation=toy_split)
        return evaluate_plan(PlantedDefense(toy_model, function), toy_split, plan)

    return evaluate_with


@pytest.fixture(scope="module")
def complete(evaluate_with):
    return evaluate_with("all")


@pytest.mark.slow
def test_a_report_has_a_row_per_attacker(complete):
    clean, grey_box, white_box, adaptive = complete.suspicion
    assert (clean.n, grey_box.n, white_box.n, adaptive.n) == (24, 24, 24, 12)
    for each in (grey_box, white_box):
        rows = [row for row in complete.rows if row.threat_model == each.threat_model]
        rows = [row for row in rows if row.defense == "planted" and row.attack != "worst_case"]
        assert each.accuracy == min(row.accuracy for row in rows)
    assert clean.alarms == 0
    assert grey_box.auc > 0.9  # The noise of the attacks is blurred.
    assert adaptive.attack == "pgd"
    assert adaptive.alarms < white_box.alarms
    assert adaptive.auc < white_box.auc
    assert "suspicion" not in complete.check_effort["checks"]


@pytest.mark.slow
def test_the_report_shows_it_everywhere(complete, tmp_path, capsys):
    restored = Report.from_json(complete.to_json())
    assert restored.suspicion == complete.suspicion
    adaptive = complete.suspicion[-1]
    line = f"The adaptive attacker also keeps suspicion low: {adaptive.alarms:.1%} of the images"
    print_report(restored)
    for page in (to_markdown(restored), to_html(restored, tmp_path, ()), capsys.readouterr().out):
        assert line in page
        assert "adaptive white box" in page
        assert f"{adaptive.auc:.3f} [{adaptive.auc_low:.3f}, {adaptive.auc_high:.3f}]" in page


@pytest.mark.slow
def test_fast_checks_leave_the_adaptive_attack_out(evaluate_with):
    report = evaluate_with("fast")
    assert [each.threat_model for each in report.suspicion] == ["none", "grey_box", "white_box"]
    assert "The attacker who also keeps suspicion low was left out" in to_markdown(report)


@pytest.mark.slow
def test_without_checks_images_or_changes_there_is_no_table(evaluate_with, toy_model, toy_split):
    plan = AttackPlan((FGSM(epsilon=0.2),), checks=CheckSettings(("none",)), validation=toy_split)
    assert evaluate_plan(PlantedDefense(toy_model, blur), toy_split, plan).suspicion == ()
    assert evaluate_with("rounding").suspicion == ()
    without_change = evaluate_with("fast", function=identity)
    assert without_change.suspicion == ()
    assert "## Suspicion" not in to_markdown(without_change)
    assert "suspicion" in json.loads(without_change.to_json())


@pytest.mark.slow
def test_a_detector_is_attacked_with_it(toy_model, toy_split):
    checks = CheckSettings(("all",), 6)
    plan = AttackPlan((BIM(epsilon=0.25),), checks=checks, validation=toy_split)
    report = evaluate_plan(Detecting(toy_model), toy_split, plan)
    assert [each.threat_model for each in report.suspicion][-1] == ADAPTIVE
    assert report.suspicion[-1].n == 6


@pytest.mark.parametrize(
    "change",
    [
        {"threat_model": "x"},
        {"auc": None},
        {"alarms": 1.5},
        {"missed": -0.1},
        {"n": 0},
        {"threat_model": "none"},
        {"auc_high": float("nan")},
    ],
)
def test_numbers_out_of_range_are_no_finding(change):
    finding = SuspicionFinding("pgd", "white_box", 4, 0.75, 0.9, 0.8, 1.0, 0.25, 0.0, 100)
    with pytest.raises(ValueError, match="suspicion"):
        dataclasses.replace(finding, **change)


def test_validation_images_of_the_data_calibrate_it(toy_split):
    validation = Split(toy_split.images[:6], toy_split.labels[:6], 3, "toy")
    dataset = Dataset("toy", toy_split, validation, toy_split)
    config = EvaluationConfig(attacks=("fgsm",), epsilon=0.1)
    assert config.attack_plan(dataset).validation is validation
