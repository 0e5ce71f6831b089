import importlib
from pathlib import Path

import pytest
import tensorflow as tf

from tests.evaluation.checks.planted_flaws import (
    PlantedDefense,
    identity,
    reverse_gradient,
    round_without_gradient,
)
from tfdefense.attacks import PGD
from tfdefense.errors import UserError
from tfdefense.evaluation import evaluate
from tfdefense.evaluation.checks import registry
from tfdefense.evaluation.checks.registry import CHECKS
from tfdefense.evaluation.report.render import to_html, to_markdown


@pytest.fixture
def evaluate_planted(toy_model, toy_split):
    """Return the report on a planted purifier, and the names of the checks that failed."""

    def evaluate_planted(function):
        defense = PlantedDefense(toy_model, function)
        report = evaluate(defense, toy_split, [PGD(epsilon=0.25)], white_box_images=24)
        return report, {check.name for check in report.failed_checks}

    return evaluate_planted


def test_names_and_order_of_the_checks_are_those_of_earlier_reports():
    names = [
        "Attacks do not help the classifier",
        "White box is the strongest attacker",
        "Square finds nothing more",
        "Gradients exist",
        "The loss rises",
        "Small noise leaves the loss alone",
        "Attacks return what they find",
        "The optimisation is finished",
        "Step size does not matter",
        "Attacks have converged",
        "Margin losses find nothing more",
        "What fools the surrogate fools the pipeline",
        "Accuracy falls to chance",
        "Random noise finds nothing",
        "Adversarial images survive rounding",
        "Batches do not matter",
        "The same image has the same logits",
        "Test-time procedures are attacked",
    ]
    assert [check.name for check in CHECKS if check.name in names] == names
    for check in CHECKS:
        assert check.question.endswith("?")
        assert check.source
        assert check.rule


def test_key_of_a_check_is_the_name_of_its_file():
    folder = Path(registry.__file__).parent
    assert len({check.key for check in CHECKS}) == len(CHECKS)
    for check in CHECKS:
        module = importlib.import_module(f"{registry.__package__}.{check.key}")
        assert getattr(module, check.key.upper()) is check
        assert (folder / f"{check.key}.py").is_file()
        assert (Path(__file__).parent / f"test_{check.key}.py").is_file()


@pytest.mark.slow
def test_report_on_a_pipeline_without_a_flaw_passes_all_checks(evaluate_planted):
    report, names = evaluate_planted(identity)
    assert names == set()
    assert len(report.checks) == len(CHECKS)
    assert "✗ **" not in to_markdown(report)
    assert "| ✗" not in to_markdown(report)


@pytest.mark.slow
def test_report_on_masked_gradients_shows_failed_checks_at_the_top(evaluate_planted, tmp_path):
    report, names = evaluate_planted(round_without_gradient)
    assert {"Gradients exist", "The loss rises", "White box is the strongest attacker"} <= names
    top = to_markdown(report).split("## ")[0]
    assert "> ✗ **Check failed: Gradients exist.**" in top
    assert "24 of 24 images" in top
    white_box = report.row("planted", "worst_case", "white_box").accuracy
    assert ("the true robustness is unknown" in report.summary) == (white_box >= 0.5)
    assert "<blockquote>" in to_html(report, tmp_path, ())


@pytest.mark.slow
def test_report_on_a_reversed_gradient_fails(evaluate_planted):
    _, names = evaluate_planted(reverse_gradient)
    assert {"Accuracy falls to chance", "White box is the strongest attacker"} <= names


@pytest.mark.slow
def test_purifier_without_any_gradient_is_an_error(evaluate_planted):
    with pytest.raises(UserError, match=r"has no gradient by its images.*bpda"):
        evaluate_planted(lambda images: tf.round(3 * images) / 3)
