import dataclasses
import json

import numpy as np
import pytest

from tests.evaluation.checks.planted_flaws import PlantedDefense, identity
from tfdefense.attacks import BIM
from tfdefense.cli.printing import print_report
from tfdefense.errors import UserError
from tfdefense.evaluation import AttackPlan, Report
from tfdefense.evaluation.checks.registry import CHECKS
from tfdefense.evaluation.checks.run import _undefended_gradient_seconds
from tfdefense.evaluation.checks.settings import CheckSettings
from tfdefense.evaluation.checks.sizes import PROBES
from tfdefense.evaluation.evaluate_defense import evaluate_plan
from tfdefense.evaluation.measurements import Measurements
from tfdefense.evaluation.per_image_results import PerImageResults, ResultKey
from tfdefense.evaluation.report.render import to_markdown


@pytest.fixture(scope="module")
def planted_defense(toy_model):
    return PlantedDefense(toy_model, identity)


@pytest.fixture
def evaluate_with(planted_defense, toy_split):
    """Return the report of a pipeline without a flaw, with these checks."""

    def evaluate_with(*names, images=None):
        attacks, checks = (BIM(epsilon=0.25),), CheckSettings(names, images)
        plan = AttackPlan(attacks, white_box_images=24, checks=checks)
        return evaluate_plan(planted_defense, toy_split, plan)

    return evaluate_with


def test_gradients_of_the_source_are_not_those_of_the_classifier(planted_defense, toy_split):
    measurements = Measurements(planted_defense, toy_split.take(2))
    clean = PerImageResults(toy_split.labels[:2], np.zeros((2, 3), np.float32))
    measurements.add(ResultKey("none", "none", "none"), 0.0, clean)
    for threat_model, gradients in (("white_box", 10), ("transfer", 1_000)):
        attacked = dataclasses.replace(clean, gradients=np.full(2, gradients, np.int32))
        measurements.add_seconds(100.0)
        measurements.add(ResultKey("none", "bim", threat_model), 0.3, attacked)
    assert _undefended_gradient_seconds(measurements) == pytest.approx(100 / 20, rel=0.05)


@pytest.mark.slow
def test_without_checks_a_report_says_so(evaluate_with, capsys):
    report = evaluate_with("none")
    assert report.checks == ()
    assert report.curve == report.check_effort == {}
    assert "## Checks" not in to_markdown(report)
    print_report(report)
    assert capsys.readouterr().out.endswith("No checks ran.\n")


@pytest.mark.slow
def test_fast_checks_leave_the_curve_out_and_are_named(evaluate_with):
    report = evaluate_with("fast")
    assert report.curve == {}
    expected = [check.key for check in CHECKS if check.is_fast]
    assert report.check_effort["checks"] == expected
    page = to_markdown(report)
    assert "They looked at 24 images, with 40 steps of PGD" in page
    assert "Left out by --checks: White box is the strongest attacker, Square finds" in page
    assert "random perturbations" not in page
    assert "queries of Square" not in page


def test_a_check_without_probes_names_none(evaluate_with):
    report = evaluate_with("label_leaking")
    assert report.check_effort["probes"] == []
    assert "They took" in to_markdown(report)


@pytest.mark.slow
def test_number_of_images_can_be_fixed(evaluate_with):
    report = evaluate_with("all", images=12)
    assert len(report.checks) == len(CHECKS)
    assert report.curve["n"] == report.check_effort["images"] == 12
    assert not report.check_effort["adapted"]
    assert set(report.check_effort["probes"]) == set(PROBES) - {"suspicion"}
    assert report.curve["classes"] == 3
    restored = Report.from_json(report.to_json())
    assert restored.check_effort == report.check_effort
    old = json.loads(report.to_json())
    del old["check_effort"]
    assert "They looked at" not in to_markdown(Report.from_json(json.dumps(old)))


def test_more_check_images_than_attacked_images_are_an_error(evaluate_with):
    with pytest.raises(UserError, match="--check_images=25: the report has 24 white-box images"):
        evaluate_with("fast", images=25)


@pytest.mark.slow
def test_reports_of_many_sizes_warn_of_no_retracing(evaluate_with, tensorflow_log):
    for images in range(19, 25):  # TensorFlow warns from the fifth trace of a function on.
        evaluate_with("gradients_exist", "repeatability", images=images)
    assert not [message for message in tensorflow_log if "retracing" in message]
