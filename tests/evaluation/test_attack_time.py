"""Attacks that would take hours are refused before they begin."""

import time

import pytest
import tensorflow as tf

import tfdefense
from tfdefense.attacks import PGD, AutoAttack, DeepFool, Expectation, Square, StrongestOf
from tfdefense.errors import UserError
from tfdefense.evaluation import attack_time
from tfdefense.evaluation.attack_plan import AttackPlan
from tfdefense.evaluation.attack_time import (
    PlannedAttack,
    estimate_seconds,
    require_hours,
    require_time,
)
from tfdefense.evaluation.checks.settings import CheckSettings
from tfdefense.evaluation.evaluate_defense import evaluate_plan
from tfdefense.evaluation.evaluator import Evaluator
from tfdefense.evaluation.threat_models import ThreatModels

_PAUSE = 0.02  # Seconds of one call of `slow_model`.


def slow_model(images):
    """Model of three classes whose every call takes at least `_PAUSE`."""

    def wait(pixels):
        time.sleep(_PAUSE)
        return pixels

    waited = tf.numpy_function(wait, [images[:, :1, :1, :1]], tf.float32)
    sums = tf.reduce_sum(images, axis=(1, 2))
    return tf.concat([sums, 2 * sums, tf.reshape(waited, [-1, 1])], axis=1)


def plan(split, steps, **options):
    return PlannedAttack(PGD(epsilon=0.1, steps=steps), slow_model, split, **options)


def test_seconds_are_the_largest_cost_times_the_measured_speed(toy_split):
    (seconds,) = estimate_seconds([plan(toy_split, steps=1_000)]).values()
    # One call with all images computes one gradient of each.
    assert 1_000 * _PAUSE <= seconds <= 20 * 1_000 * _PAUSE


def test_few_computations_are_not_timed(toy_split):
    assert sum(estimate_seconds([plan(toy_split, steps=10)]).values()) == 0
    assert sum(estimate_seconds([plan(toy_split, steps=10, is_slow=True)]).values()) >= 10 * _PAUSE


def test_auto_attack_averages_over_no_more_draws_than_the_model(toy_split):
    rand, count = AutoAttack(epsilon=0.1, version="rand"), len(toy_split)
    gradients = 2 * 101 * count  # APGD-CE and APGD-DLR.
    drawing = PlannedAttack(rand, Expectation(slow_model, 3), toy_split)
    assert drawing.cost.gradients == gradients
    assert drawing._replace(model=slow_model).cost.gradients == 20 * gradients


def test_only_attacks_that_follow_gradients_cost_more_with_surrogates(toy_split, monkeypatch):
    parts = (PGD(steps=7), Square(queries=100))
    planned = PlannedAttack(StrongestOf(parts), slow_model, toy_split)
    one = planned.cost
    names = {True: ("a", "b", "c"), False: ()}
    monkeypatch.setattr(
        attack_time, "surrogate_names", lambda attack, *_: names[attack.tries_surrogates]
    )
    squares = parts[1].largest_cost(toy_split.image_shape, 3).predictions
    assert planned.cost.gradients == 3 * one.gradients
    assert squares * len(toy_split) <= planned.cost.predictions < 2 * one.predictions


@pytest.mark.slow
def test_attacks_of_the_same_label_and_of_other_models_add_up(toy_split, monkeypatch):
    monkeypatch.setattr(attack_time, "_warm_seconds", lambda *_: 1.0)

    def other_model(images):
        return slow_model(images)

    each = plan(toy_split, steps=1_000)
    (one,) = estimate_seconds([each]).values()
    (both,) = estimate_seconds([each, each._replace(model=other_model)]).values()
    assert both == pytest.approx(2 * one)


@pytest.mark.slow
def test_too_long_attacks_are_refused_and_long_ones_announced(toy_split, capsys):
    planned = [plan(toy_split, steps=100_000)]
    with pytest.raises(UserError, match=r"--max_hours=0.1: the attacks may take .*\(pgd.*--images"):
        require_time(planned, 0.1)
    require_time(planned, 1_000)
    assert "Attacks take up to" in capsys.readouterr().out


def test_stored_images_cost_nothing(toy_split):
    require_time([plan(toy_split, steps=100_000, count_missing=lambda: 0)], 0.1)
    with pytest.raises(UserError, match="--max_hours"):
        require_time([plan(toy_split, steps=100_000, count_missing=lambda: 24)], 0.1)


@pytest.mark.parametrize("hours", [0, -1, float("nan"), float("inf")])
def test_the_limit_is_a_number_above_0(hours):
    with pytest.raises(UserError, match=r"--max_hours=.*a number above 0 is needed"):
        require_hours(hours)


@pytest.mark.slow
def test_every_attack_of_a_report_is_planned(toy_model, toy_split, tmp_path):
    """Plans are the attacks that the evaluation runs, and those that are stored count nothing."""
    defense = tfdefense.defenses.BitDepth(toy_model)
    threat_models = ThreatModels(("white_box", "black_box"))
    plan = AttackPlan(
        (PGD(epsilon=0.1, steps=3),), 7, threat_models, tmp_path, checks=CheckSettings(("none",))
    )
    evaluator = Evaluator(defense, toy_split, plan.completed(defense, toy_split))
    planned = evaluator.planned_attacks()
    counts = [(each.attack.name, len(each.split)) for each in planned]
    black_box = 2 * [("square", 7)] + 2 * [("hop_skip_jump", 7)]
    assert counts == [("pgd", 24), ("pgd", 7), *black_box]
    assert planned[1].attack.stop_at_success
    assert [each.count_missing() for each in planned] == [24, 7, 7, 7, 7, 7]
    evaluate_plan(defense, toy_split, plan)
    assert [each.count_missing() for each in planned] == 6 * [0]


def test_the_attack_on_a_detector_is_planned_and_never_stored(toy_model, toy_split, tmp_path):
    class Detecting(tfdefense.defenses.BitDepth):
        detects = True

    defense = Detecting(toy_model)
    plan = AttackPlan((DeepFool(),), 7, ThreatModels(("white_box",)), tmp_path)
    evaluator = Evaluator(defense, toy_split, plan.completed(defense, toy_split))
    _, first, evading = evaluator.planned_attacks()
    assert (first.attack.name, first.count_missing()) == ("deepfool", 7)
    assert (evading.attack, evading.count_missing) == (DeepFool().targeted_variant(4), None)
