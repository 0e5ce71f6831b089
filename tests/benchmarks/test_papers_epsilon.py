"""benchmarks/papers_epsilon.py: the choice by least squares, and inputs that it refuses."""

import argparse
import importlib
from types import SimpleNamespace

import numpy as np
import pytest

from tests.docs.markdown import ROOT
from tfdefense.errors import UserError
from tfdefense.papers.paper import load_paper
from tfdefense.training.run_directory import RunDirectory
from tfdefense.training.stored_config import StoredConfig


@pytest.fixture
def program(monkeypatch):
    monkeypatch.syspath_prepend(ROOT / "benchmarks")
    return importlib.import_module("papers_epsilon")


def test_figures_are_those_of_the_undefended_classifiers(program):
    figures = program.load_figures(load_paper("apeganpp"), "mnist")
    assert len(figures) == 8
    assert figures["VGG16", "FGSM"].accuracy_percent == 30.13
    assert {figure.defense for figure in figures.values()} == {"none"}


def test_the_smallest_error_over_all_is_between_those_of_each_alone(program):
    keys = [("LeNet", "FGSM"), ("LeNet", "BIM"), ("ResNet18", "FGSM")]
    percent = dict(zip(keys, (50.0, 30.0, 10.0), strict=True))
    figures = {key: SimpleNamespace(accuracy_percent=value) for key, value in percent.items()}
    shares = {key: np.array([0.5, 0.3, 0.1]) for key in keys}
    errors = program.find_errors(shares, figures)
    assert list(errors) == ["all", "FGSM", "BIM", "LeNet", "ResNet18"]
    assert [int(np.argmin(values)) for values in errors.values()] == [1, 1, 1, 0, 2]
    np.testing.assert_allclose(errors["all"], np.sqrt(np.array([2000, 800, 2000]) / 3))
    np.testing.assert_allclose(errors["ResNet18"], [40, 20, 0], atol=1e-9)


def test_counts_are_those_of_the_attack_at_each_epsilon(program, toy_model, toy_split):
    none, strong = program.count_correct(toy_model, "fgsm:epsilon=0.3", (1e-6, 0.9), toy_split)
    assert (none, strong < 12) == (24, True)


@pytest.mark.parametrize("epsilons", ["", "a,0.1", "0,0.1", "0.1,1.5", "nan"])
def test_epsilons_are_numbers_up_to_1(program, epsilons):
    given = argparse.Namespace(epsilons="0.3,0.1,0.3", dataset="mnist")
    assert program.parse_epsilons(given) == [0.1, 0.3]
    given.epsilons = epsilons
    with pytest.raises(UserError, match=f"--epsilons={epsilons}: numbers above 0"):
        program.parse_epsilons(given)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("apeganpp/mnist/lenet", "is for mnist; --dataset=cifar10 given"),
        ("run", "unknown classifier of table II 'anet'"),
        ("gone", "gone: neither a run directory nor one of apeganpp/mnist/"),
    ],
)
def test_other_classifiers_are_refused(program, tmp_path, monkeypatch, name, message):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "run").mkdir()
    text = StoredConfig("classifier", {"classifier": "anet"}).to_json()
    RunDirectory(tmp_path / "run").config_path.write_text(text)
    with pytest.raises(UserError, match=message):
        program.open_classifier(name, SimpleNamespace(name="cifar10"), {"cifar_cnn": "CIFAR-CNN"})
