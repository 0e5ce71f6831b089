"""Cells of a paper's grid, and the targets that they need."""

import pytest

from tests.papers.conftest import make_grid
from tfdefense.papers.budget import budget_names, load_budget
from tfdefense.papers.grid import order_targets
from tfdefense.papers.measurements import PaperCell
from tfdefense.papers.paper import paper_names
from tfdefense.papers.store import TargetStore
from tfdefense.papers.targets import ClassifierTarget, DefenseTarget, ExamplesTarget


@pytest.mark.parametrize("name", paper_names())
def test_every_figure_has_a_cell_under_every_budget(name):
    for budget in budget_names():
        for figure, cell in make_grid(name, budget=budget).cells:
            assert (cell.defense is None) == (figure.defense == "none")
            assert (cell.examples is None) == (figure.attack == "benign")
            assert cell.images >= 1
            assert cell.white_box_images >= (figure.defense != "none" and figure.attack != "benign")
            if cell.examples:
                assert cell.images <= cell.examples.images


def test_table_vii_crosses_classifiers():
    cells = {
        (figure.attacked_classifier, figure.trained_with, figure.attack): cell
        for figure, cell in make_grid(tables=["VII"]).cells
    }
    cell = cells["ResNet18", "LeNet", "FGSM"]
    passes = load_budget("cpu").value("classifier_passes", "mnist", "resnet18")
    assert cell.classifier == ClassifierTarget("mnist", "resnet18", passes)
    images = cell.examples.images
    assert cell.examples == ExamplesTarget(cell.classifier, "fgsm:epsilon=0.3", images)
    assert cell.defense.classifier == ClassifierTarget("mnist", "lenet")
    assert cell.defense.defense == "apeganpp"


def test_shared_targets_are_listed_once_and_after_their_prerequisites(tmp_path):
    cells = (cell for _, cell in make_grid(dataset="mnist").cells)
    targets = order_targets(cells, TargetStore(tmp_path))
    kinds = [type(target) for target in targets]
    # Four classifiers under five attacks. Six defences for each: apegan, apeganpp, three without
    # training, adversarial training.
    counts = [
        kinds.count(kind) for kind in (ClassifierTarget, ExamplesTarget, DefenseTarget, PaperCell)
    ]
    assert counts == [4, 20, 24, 204]
    seen = set()
    for target in targets:
        assert {prerequisite.key for prerequisite in target.prerequisites()} <= seen
        seen.add(target.key)


def test_defences_that_ignore_the_classifier_are_trained_once():
    cells = [
        cell
        for figure, cell in make_grid("cgan", ["6"]).cells
        if figure.defense in ("MagNet", "Defense-GAN")
    ]
    assert {cell.defense.classifier.name for cell in cells} == {"defense_gan_a"}
    assert {cell.classifier.name for cell in cells} == {f"defense_gan_{x}" for x in "abcd"}


def test_shards_are_disjoint_and_complete():
    grid = make_grid(tables=["II", "VII"])
    shards = [grid.shard(index, 3) for index in (1, 2, 3)]
    assert sorted(figure.accuracy_percent for shard in shards for figure, _ in shard) == sorted(
        figure.accuracy_percent for figure, _ in grid.cells
    )
