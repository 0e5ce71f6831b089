"""Figures of the papers, and the registered names that stand for theirs."""

import csv
from pathlib import Path

import pytest

from tests.papers.conftest import make_grid
from tfdefense.errors import UserError
from tfdefense.papers.paper import load_paper, paper_names

SHARED = Path(__file__).parents[3] / "shared" / "papers" / "figures.csv"


def test_the_papers_have_488_figures():
    figures = [figure for name in paper_names() for figure in load_paper(name).figures]
    assert len(figures) == 488
    if not SHARED.is_file():
        pytest.skip(f"{SHARED} does not exist")
    with SHARED.open() as file:
        printed = [
            (*list(row.values())[:-1], float(row["accuracy_percent"]))
            for row in csv.DictReader(file)
        ]
    assert sorted(printed) == sorted(tuple(vars(figure).values()) for figure in figures)


def test_figures_are_selected_by_classifier():
    selected = load_paper("apeganpp").select(["IX"], None, ["CIFAR-CNN"])
    assert {(each.attacked_classifier, each.trained_with) for each in selected} == {
        ("CIFAR-CNN", "CIFAR-CNN")
    }
    assert len(selected) == 5
    selected = load_paper("apeganpp").select(["VII"], None, ["MNIST-CNN", "LeNet"])
    assert {each.trained_with for each in selected} == {"MNIST-CNN", "LeNet"}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"tables": ["XI"]}, "unknown table of --paper=apeganpp 'XI'. Did you mean"),
        ({"dataset": "minst"}, "unknown dataset 'minst'. Did you mean 'mnist'"),
        (
            {"tables": ["III"], "dataset": "cifar10"},
            "--tables=III: has no figures for --dataset=cifar10",
        ),
        (
            {"dataset": "mnist", "classifiers": ["CIFAR-CNN"]},
            "--paper=apeganpp: has no figures for --dataset=mnist and --classifiers=CIFAR-CNN",
        ),
        ({"budget": "gpu"}, "unknown --budget 'gpu'"),
        ({"name": "apegan"}, "unknown --paper 'apegan'. Did you mean 'apeganpp'"),
    ],
)
def test_unknown_names_are_rejected(arguments, message):
    with pytest.raises(UserError, match=message):
        make_grid(**arguments)


def test_every_choice_has_a_reason():
    for name in paper_names():
        assert all(reason for _, _, reason in load_paper(name).list_choices())
