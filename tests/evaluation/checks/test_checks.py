"""The checks of a report, on defences whose flaw is known."""

import dataclasses

import numpy as np
import pytest
import tensorflow as tf

import tfdefense
from tfdefense.attacks import FGSM, PGD, Square
from tfdefense.defenses.core.defense import Defense
from tfdefense.defenses.core.evaluation_budget import EvaluationBudget
from tfdefense.errors import UserError
from tfdefense.evaluation import evaluate
from tfdefense.evaluation.checks.all_checks import no_label_leaking
from tfdefense.evaluation.checks.diagnostics import Diagnostics
from tfdefense.evaluation.checks.pgd_trace import trace_pgd
from tfdefense.evaluation.measurements import Measurements
from tfdefense.evaluation.report.render import to_html, to_markdown
from tfdefense.evaluation.runner import ModelRunner


@dataclasses.dataclass(frozen=True)
class Nothing:
    pass


class Planted(Defense):
    """A purifier made of a function."""

    name, config_type = "planted", Nothing
    budget = EvaluationBudget(random_perturbations=200)

    def __init__(self, classifier, function):
        super().__init__(classifier)
        self.purify = function

    def purify(self, images):
        raise NotImplementedError


@pytest.fixture
def failed(toy_model, toy_split):
    """Names of the checks that a report on a planted purifier fails."""

    def failed(function, attack=None):
        report = evaluate(
            Planted(toy_model, function),
            toy_split,
            [attack or PGD(epsilon=0.25)],
            white_box_images=24,
        )
        return report, {check.name for check in report.failures}

    return failed


def test_what_square_alone_finds_is_told_where_square_is_one_of_the_attacks(toy_model, toy_split):
    """It must not vouch for itself: what it fells counts against the attacks that follow gradients."""
    attacks = [PGD(epsilon=0.25), Square(epsilon=0.25, queries=300)]

    def check(function, attacks=attacks):
        report = evaluate(Planted(toy_model, function), toy_split, attacks, 24)
        return next(check for check in report.sanity if check.name.startswith("White box"))

    honest, masked = (
        check(lambda images: images),
        check(lambda images: tf.round(3 * images) / 3 + 0 * images),
    )
    assert honest.passed
    assert "(square)" in honest.verdict
    assert not masked.passed
    # A larger ball, or one in another norm, is no fair witness.
    weak = PGD(epsilon=0.02)
    larger = check(lambda images: images, [weak, Square(epsilon=0.25, queries=50)])
    assert "(square)" not in larger.verdict
    mixed = check(lambda images: images, [PGD(epsilon=3.0, norm="l2"), *attacks])
    assert mixed.passed
    assert "(square)" in mixed.verdict


def test_an_honest_pipeline_passes(failed):
    report, names = failed(lambda images: images)
    assert names == set()
    assert len(report.sanity) == 9
    assert "✗" not in to_markdown(report)


def test_rounding_without_a_gradient_is_caught(failed, tmp_path):
    """Masked gradients: to the attacker all is flat, and to square it is not."""
    report, names = failed(lambda images: tf.round(3 * images) / 3 + 0 * images)
    assert {"Gradients exist", "The loss rises", "White box is the strongest attacker"} <= names
    top = to_markdown(report).split("## ")[0]
    assert "> ✗ **Gradients exist: no.**" in top
    assert "24 of 24 images" in top
    assert ("What it withstands is not known" in report.summary) == (
        report.row("planted", "worst_case", "white_box").accuracy >= 0.5
    )
    assert "<blockquote>" in to_html(report, tmp_path, ())


def test_a_purifier_without_any_gradient_is_refused(failed):
    with pytest.raises(UserError, match=r"has no gradient by its images.*bpda"):
        failed(lambda images: tf.round(3 * images) / 3)


def test_a_single_step_has_not_converged(failed):
    _, names = failed(lambda images: images, FGSM(epsilon=0.12))
    assert "Attacks have converged" in names


def test_what_depends_on_its_batch_is_caught(failed):
    _, names = failed(lambda images: images - tf.reduce_mean(images, axis=0, keepdims=True))
    assert "Batches do not matter" in names


def test_an_attack_that_cannot_reach_chance_is_caught(failed):
    """Steps back to where it came from: the gradient points the wrong way."""

    @tf.custom_gradient
    def backwards(images):
        return tf.identity(images), lambda upstream: -upstream

    _, names = failed(backwards)
    assert {"Accuracy falls to chance", "White box is the strongest attacker"} <= names


def test_accuracy_above_clean_is_label_leaking(defense, report, toy_split):
    measure = Measurements(defense, toy_split)
    measure.cells = report.cells

    def with_accuracy(row):
        value = 0.2 if row.attack == "none" else 1.0
        return dataclasses.replace(row, accuracy=value, ci_low=value, ci_high=value)

    measure.rows = [with_accuracy(row) for row in report.rows]
    check = no_label_leaking(measure, "apeganpp")
    assert not check.passed
    assert "writes the label into the image" in check.verdict
    measure.rows = list(report.rows)
    assert no_label_leaking(measure, "apeganpp").passed


def test_watched_attack_is_pgd(toy_model, toy_split):
    """The same loss, and the same images fooled, as PGD whose start is the image."""
    from tfdefense.attacks import BIM

    images, labels = tf.constant(toy_split.images), tf.constant(toy_split.labels)
    watched = trace_pgd(
        toy_model,
        images,
        labels,
        tf.constant(0.2),
        tf.constant(0.05),
        tf.constant(7),
        tf.constant(0),
    )
    for steps in (1, 7):
        crafted = BIM(epsilon=0.2, relative_step_size=0.25, steps=steps)(toy_model, images, labels)
        losses = tf.nn.sparse_softmax_cross_entropy_with_logits(labels, toy_model(crafted))
        np.testing.assert_allclose(watched.losses[steps], losses, rtol=1e-4, atol=1e-5)
    wrong = np.argmax(toy_model(crafted), -1) != toy_split.labels
    assert np.all((watched.fell_at.numpy() <= 7) >= wrong)
    assert not np.any(watched.no_gradient)


def test_noise_stays_in_the_ball_and_finds_what_is_there(toy_model, toy_split):
    """Right on clean images; wrong as soon as a pixel that was black is far from it."""

    class Model:
        name = "alarmed"

        def __call__(self, images):
            far = images[:, 0, 0, 0] > 0.28
            return tf.stack([1.0 - tf.cast(far, tf.float32)] * 2 + [tf.fill(tf.shape(far), 0.5)], 1)

    images = np.array(toy_split.images)
    images[:, 0, 0, 0] = 0
    black = tfdefense.data.Split(images, np.zeros(24, np.int32), num_classes=3, dataset="toy")

    def probe(epsilon):
        return Diagnostics(ModelRunner(toy_model), ModelRunner(Model()), black, epsilon, np.ones(24, bool), 200, 40)

    assert probe(0.3).noise_fell().all()
    assert not probe(0.27).noise_fell().any()
