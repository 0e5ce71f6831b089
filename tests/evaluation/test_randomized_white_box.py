"""The report of a randomised defence: EOT, fixed randomness, and resubmissions."""

import dataclasses

import numpy as np
import pytest
import tensorflow as tf

from tfdefense.attacks import BIM, FGSM, PGD, AutoAttack, Expectation
from tfdefense.attacks.core import per_image_random
from tfdefense.defenses.core.randomized_defense import RandomizedDefense
from tfdefense.errors import UserError
from tfdefense.evaluation import AttackPlan, Report, ThreatModels
from tfdefense.evaluation.checks.settings import CheckSettings
from tfdefense.evaluation.evaluate_defense import evaluate_plan
from tfdefense.evaluation.per_image_results import REFUSED
from tfdefense.evaluation.randomized_white_box import attack_beyond_success
from tfdefense.evaluation.report.comparison import Comparison
from tfdefense.evaluation.report.render import to_markdown
from tfdefense.evaluation.threat_models import WHITE_BOXES

EPSILON, IMAGES = 0.12, 12
ATTACK = BIM(epsilon=EPSILON, steps=3)
ATTACK_LABEL = "bim:steps=3"
THREAT_MODELS = ThreatModels(("white_box",), eot_draws=3, resubmissions=4)


class Noise(RandomizedDefense):
    """Adds normal noise."""

    name = "noisy"
    config_type = dataclasses.make_dataclass("NoiseConfig", [])

    def purify(self, images, draw=None):
        keys = per_image_random.image_keys(images, self.seed, draw)
        noise = per_image_random.normal(keys, list(images.shape[1:]), stream=0)
        return tf.clip_by_value(images + 0.2 * noise, 0, 1)


@pytest.fixture(scope="module")
def defense(toy_model):
    return Noise(toy_model)


def make_plan(*attacks, runs_dir=None):
    return AttackPlan(attacks, IMAGES, THREAT_MODELS, runs_dir, checks=CheckSettings(("none",)))


@pytest.fixture(scope="module")
def plan(tmp_path_factory):
    return make_plan(ATTACK, runs_dir=tmp_path_factory.mktemp("runs"))


@pytest.fixture(scope="module")
def report(defense, toy_split, plan):
    return evaluate_plan(defense, toy_split, plan)


def predicted(report, threat_model):
    return report.per_image[f"noisy/{ATTACK_LABEL}/{threat_model}"].predicted


@pytest.mark.slow
def test_images_are_made_in_expectation_and_judged_by_other_draws(defense, toy_split, report):
    few = toy_split.take(IMAGES)
    attacked = ATTACK(
        Expectation(defense.defend_with_fresh_randomness(), 3), few.images, few.labels
    )

    def judge(number):
        draw = per_image_random.draw_in_stream(1, number)
        logits = defense.purify_and_classify(defense.classifier, attacked, draw)[1]
        return np.argmax(logits, axis=-1)

    verdicts = np.array([judge(number) for number in range(4)])
    np.testing.assert_array_equal(predicted(report, "white_box_eot"), verdicts[0])
    all_right = np.all(verdicts == few.labels, axis=0)
    resubmitted = predicted(report, "white_box_resubmitted")
    np.testing.assert_array_equal(resubmitted == few.labels, all_right)
    row = report.row("noisy", ATTACK_LABEL, "white_box_resubmitted")
    assert (row.n, row.accuracy) == (IMAGES, np.mean(all_right))
    eot = report.row("noisy", ATTACK_LABEL, "white_box_eot")
    assert row.accuracy < eot.accuracy, "the test needs images that not every draw fools"


@pytest.mark.slow
def test_the_summary_quotes_the_worst_case_of_all_white_boxes(report, toy_split):
    labels = toy_split.labels[:IMAGES]
    clean = report.per_image["noisy/none/none"].predicted[:IMAGES] == labels
    right = np.array([predicted(report, name) == labels for name in WHITE_BOXES])
    worst = report.row("noisy", "worst_case", "any_white_box")
    assert (worst.n, worst.accuracy) == (IMAGES, np.mean(clean & right.all(axis=0)))
    words = "white box, worst case of fixed randomness, EOT and resubmissions"
    assert f"{worst.accuracy:.1%} (n = 12)" in report.summary
    assert words in report.summary
    assert report.white_box_worst_case("noisy") == worst


@pytest.mark.slow
def test_a_report_shows_three_white_box_columns(report):
    titles = [f"noisy, white box, {what}" for what in ("fixed randomness", "EOT", "resubmitted")]
    assert report.table()[0] == ["attack", "undefended", *titles]
    page = to_markdown(report)
    assert "**White box, EOT**: the attack does not know the random numbers." in page
    assert "EOT: gradients are means over 3 draws. Resubmitted: 4 draws judge each image." in page
    again = Report.from_json(report.to_json())
    assert again.table() == report.table()
    assert again.summary == report.summary


@pytest.mark.slow
def test_a_comparison_shows_them_next_to_a_deterministic_defence(report, bit_depth, toy_split):
    other = evaluate_plan(bit_depth, toy_split, make_plan(ATTACK))
    comparison = Comparison({"noisy": report, "bit_depth": other})
    header, *lines = comparison.table()
    assert len(header) == 2 + 3 + 1
    assert header[-1] == "bit_depth, white box"
    assert [line[0] for line in lines] == [
        "none (clean)",
        f"bim:steps=3 {EPSILON}",
        f"worst_case {EPSILON}",
    ]
    assert other.white_box_worst_case("bit_depth").threat_model == "white_box"
    assert "any_white_box" not in {row.threat_model for row in other.rows}


@pytest.mark.slow
def test_eot_images_are_stored_and_reused(defense, toy_split, plan, report, monkeypatch):
    attacked, run = [], BIM.run
    monkeypatch.setattr(
        BIM, "run", lambda self, model, *rest: attacked.append(model) or run(self, model, *rest)
    )
    again = evaluate_plan(defense, toy_split, plan)
    assert not attacked
    for name in WHITE_BOXES:
        np.testing.assert_array_equal(predicted(again, name), predicted(report, name))


@pytest.mark.slow
def test_eot_does_not_stop_at_the_first_success(defense, toy_split):
    """An image at the border of a class fools the mean of some draws, and only half of the others."""
    stopping = BIM(epsilon=0.3, stop_at_success=True)
    found = evaluate_plan(defense, toy_split, make_plan(stopping))
    label = "bim:stop_at_success=True"
    changes = {
        name: found.per_image[f"noisy/{label}/{name}"].perturbation[:, 0] for name in WHITE_BOXES
    }
    assert changes["white_box_eot"].mean() > 1.5 * changes["white_box"].mean()


@pytest.mark.slow
def test_a_detector_is_attacked_in_expectation_too(toy_model, toy_split, tmp_path):
    class DetectedNoise(Noise):
        detects = True

        def detector_score(self, images):
            return 40 * (tf.reduce_mean(images, axis=(1, 2, 3)) - 0.28)

    plan = make_plan(ATTACK, runs_dir=tmp_path)
    found = evaluate_plan(DetectedNoise(toy_model), toy_split, plan)
    stored = evaluate_plan(DetectedNoise(toy_model), toy_split, plan)
    for key, results in found.per_image.items():
        np.testing.assert_array_equal(stored.per_image[key].perturbation, results.perturbation, key)
    for name in ("white_box_eot", "white_box_resubmitted"):
        guarded = found.per_image[f"noisy/{ATTACK_LABEL}/{name}"]
        alone = found.per_image[f"noisy_without_detector/{ATTACK_LABEL}/{name}"]
        assert len(guarded) == len(alone) == IMAGES
        np.testing.assert_array_equal(guarded.excess > 0, guarded.predicted == REFUSED)
        is_changed = np.any(guarded.perturbation != alone.perturbation, axis=1)
        assert is_changed.any(), "some images were attacked again to evade the detector"


def test_the_budget_limits_the_images_of_eot_unless_a_number_is_given(defense, toy_split):
    plan = AttackPlan((FGSM(),))
    assert plan.completed(defense, toy_split).eot_images == defense.budget.eot_images
    given = AttackPlan((FGSM(),), white_box_images=900).completed(defense, toy_split)
    assert given.eot_images == 900


def test_bad_numbers_of_draws_are_named():
    with pytest.raises(UserError, match="--eot_draws=0: at least 1 is needed"):
        ThreatModels(eot_draws=0)
    with pytest.raises(UserError, match="--resubmissions=0: at least 1 is needed"):
        ThreatModels(resubmissions=0)


def test_auto_attack_in_expectation_is_its_version_for_randomised_models():
    attack = attack_beyond_success(AutoAttack(epsilon=0.2))
    assert attack == AutoAttack(epsilon=0.2, version="rand")
    assert attack_beyond_success(PGD(stop_at_success=True)).stop_at_success is False
    assert attack_beyond_success(FGSM()) == FGSM()
