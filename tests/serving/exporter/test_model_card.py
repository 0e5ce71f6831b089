"""Content of the model card."""

import re

import numpy as np
import pytest

import tfdefense
from tests.one_check import use_one_check
from tests.serving.conftest import CLASS_NAMES
from tfdefense.attacks import FGSM
from tfdefense.evaluation.runner import ModelRunner
from tfdefense.serving import ModelFacts, export


@pytest.fixture
def report(served_defense, toy_split, monkeypatch):
    use_one_check(monkeypatch)
    return tfdefense.evaluate(served_defense, toy_split, attacks=(FGSM(epsilon=0.2),))


@pytest.mark.slow
def test_the_card_has_the_report_and_the_class_names(served_defense, report, tmp_path):
    facts = ModelFacts(CLASS_NAMES, report)
    path = export(served_defense, tmp_path / "bars", facts=facts)
    card = (path / "model_card.md").read_text()
    row = report.row("apeganpp", "fgsm", "white_box")
    for expected in (
        "# bars, version 1",
        report.summary,
        "white box",
        f"{row.accuracy:.1%}",
        "0 is up",
        "lambda1",
    ):
        assert expected in card


def test_the_card_of_a_defence_without_report_says_so(exported):
    assert "has not been attacked" in (exported / "model_card.md").read_text()


@pytest.mark.slow
def test_the_card_of_a_variant_compares_it_with_its_defence(
    served_defense, exported_int8, toy_split
):
    card = re.sub(" +", " ", (exported_int8 / "model_card.md").read_text())
    predicted = ModelRunner(served_defense.defend()).predict(toy_split)
    accuracy = np.mean(predicted == toy_split.labels)
    assert f"| clean | {accuracy:.1%} [" in card
    assert "fgsm 0.3, grey box" in card
    assert "of 24" in card
