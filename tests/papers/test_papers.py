"""The papers' figures, their names, and the cells that follow from them."""

import csv
import hashlib
import inspect
import json
from pathlib import Path

import pytest

from tfdefense.classifiers import CLASSIFIERS
from tfdefense.classifiers import ClassifierConfig as ClassifierConfig
from tfdefense.defenses import DEFENSES
from tfdefense.defenses.core.learned_defense import LearnedDefense
from tfdefense.errors import UserError
from tfdefense.experiments.classifier_config import ClassifierExperiment
from tfdefense.experiments.context import ExperimentContext
from tfdefense.experiments.inputs import DataConfig
from tfdefense.papers import budget, paper
from tfdefense.papers.grid import PaperGrid, order_targets
from tfdefense.papers.measurements import PaperCell
from tfdefense.papers.store import TargetStore
from tfdefense.papers.targets import SCHEMA, ClassifierTarget, DefenseTarget, ExamplesTarget
from tfdefense.training import LoopConfig

SHARED = Path(__file__).parents[3] / "shared" / "papers" / "figures.csv"


def grid(name="apeganpp", tables=None, dataset=None, budget_name="cpu"):
    found = paper.load_paper(name)
    return PaperGrid(found, found.chosen(tables, dataset), budget.load_budget(budget_name))


def test_all_488_figures_are_there():
    figures = [figure for name in paper.paper_names() for figure in paper.load_paper(name).figures]
    assert len(figures) == 488
    if not SHARED.is_file():
        pytest.skip("nothing here to compare with")
    with SHARED.open() as file:
        printed = [
            (*list(row.values())[:-1], float(row["accuracy_percent"]))
            for row in csv.DictReader(file)
        ]
    assert sorted(printed) == sorted(tuple(vars(figure).values()) for figure in figures)


@pytest.mark.parametrize("name", paper.paper_names())
def test_every_figure_has_a_cell_under_every_budget(name):
    for each in budget.budget_names():
        for figure, cell in grid(name, budget_name=each).cells:
            assert (cell.defense is None) == (figure.defense == "none")
            assert (cell.examples is None) == (figure.attack == "benign")
            assert cell.images >= 1
            assert cell.white_box_images >= (figure.defense != "none" and figure.attack != "benign")
            if cell.examples:
                assert cell.images <= cell.examples.images


def test_the_cells_of_table_vii_cross_classifiers():
    figures = {
        (f.attacked_classifier, f.trained_with, f.attack): c for f, c in grid(tables=["VII"]).cells
    }
    cell = figures["ResNet18", "LeNet", "FGSM"]
    passes = budget.load_budget("cpu").value("classifier_passes", "mnist", "resnet18")
    assert cell.classifier == ClassifierTarget("mnist", "resnet18", passes)
    assert cell.examples == ExamplesTarget(cell.classifier, "fgsm:epsilon=0.3", cell.examples.images)
    assert cell.defense.classifier == ClassifierTarget("mnist", "lenet")
    assert cell.defense.defense == "apeganpp"


def test_what_cells_share_is_made_once(tmp_path):
    artefacts = order_targets((cell for _, cell in grid(dataset="mnist").cells), TargetStore(tmp_path))
    kinds = [type(each) for each in artefacts]
    # Four classifiers under five attacks; apegan, apeganpp, three that learn nothing, adversarial training before each.
    assert [kinds.count(kind) for kind in (ClassifierTarget, ExamplesTarget, DefenseTarget, PaperCell)] == [4, 20, 24, 204]
    seen = set()
    for each in artefacts:
        assert {need.key for need in each.needs()} <= seen
        seen.add(each.key)


def test_what_learns_nothing_of_the_classifier_is_trained_once():
    cells = [
        cell
        for figure, cell in grid("cgan", ["6"]).cells
        if figure.defense in ("MagNet", "Defense-GAN")
    ]
    assert {cell.defense.classifier.name for cell in cells} == {"defense_gan_a"}
    assert {cell.classifier.name for cell in cells} == {f"defense_gan_{x}" for x in "abcd"}


def test_names_tell_what_things_depend_on():
    one = ExamplesTarget(ClassifierTarget("mnist", "lenet"), "fgsm:epsilon=0.3", 100)
    for other in (
        ExamplesTarget(ClassifierTarget("mnist", "lenet"), "fgsm:epsilon=0.2", 100),
        ExamplesTarget(ClassifierTarget("mnist", "lenet"), "fgsm:epsilon=0.3", 200),
        ExamplesTarget(ClassifierTarget("mnist", "lenet", 3), "fgsm:epsilon=0.3", 100),
        ExamplesTarget(
            ClassifierTarget("mnist", "lenet", options=(("batch_size", 64),)), "fgsm:epsilon=0.3", 100
        ),
        ExamplesTarget(ClassifierTarget("digits", "lenet"), "fgsm:epsilon=0.3", 100),
    ):
        assert other.key != one.key
    # What was made before classifiers had options keeps its name.
    assert one.classifier.depends_on() == {"dataset": "mnist", "name": "lenet", "passes": None}
    options = {"schedule": "cosine", "learning_rate": 1e-3}
    same = [
        DefenseTarget.of(one.classifier, "cgan", dict(reversed(o)), 2)
        for o in (options.items(), tuple(options.items()))
    ]
    assert same[0].key == same[1].key
    assert DefenseTarget.of(one.classifier, "bit_depth", {}, 2).passes is None


def test_shards_are_disjoint_and_complete():
    whole = grid(tables=["II", "VII"])
    parts = [whole.of_shard(index, 3) for index in (1, 2, 3)]
    assert sorted(figure.accuracy_percent for part in parts for figure, _ in part) == sorted(
        figure.accuracy_percent for figure, _ in whole.cells
    )


def test_figures_with_some_classifiers_alone():
    chosen = paper.load_paper("apeganpp").chosen(["IX"], None, ["CIFAR-CNN"])
    assert {(each.attacked_classifier, each.trained_with) for each in chosen} == {
        ("CIFAR-CNN", "CIFAR-CNN")
    }
    assert len(chosen) == 5
    some = paper.load_paper("apeganpp").chosen(["VII"], None, ["MNIST-CNN", "LeNet"])
    assert {each.trained_with for each in some} == {"MNIST-CNN", "LeNet"}


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"tables": ["XI"]}, "unknown table of --paper=apeganpp 'XI'. Did you mean"),
        ({"dataset": "minst"}, "unknown dataset 'minst'. Did you mean 'mnist'"),
        (
            {"tables": ["III"], "dataset": "cifar10"},
            "--tables=III: has no figures of --dataset=cifar10",
        ),
        ({"budget_name": "gpu"}, "unknown --budget 'gpu'"),
        ({"name": "apegan"}, "unknown --paper 'apegan'. Did you mean 'apeganpp'"),
    ],
)
def test_what_is_not_there_is_named(given, said):
    with pytest.raises(UserError, match=said):
        grid(**given)


def test_rules_of_a_budget():
    cpu = budget.load_budget("cpu")
    assert cpu.value("images", "mnist", "lenet") == 10_000
    assert cpu.value("images", "mnist", "lenet", attack="cw") < 10_000
    assert cpu.value("images", "mnist", "resnet18", attack="cw") < cpu.value(
        "images", "mnist", "lenet", attack="cw"
    )
    assert cpu.value("images", "mnist", "lenet", "defense_gan", "fgsm") == 100
    assert cpu.value("options", "mnist", "lenet") is None


def test_a_budget_says_how_a_classifier_is_trained(monkeypatch, tmp_path):
    options = {"mixed_precision": "bfloat16", "batch_size": 64}
    rule = {"classifier": "rnet", "classifier_passes": 2, "classifier_options": options}
    own = budget.Budget("own", "", [{"images": 5, "white_box_images": 1}, rule])
    cgan = paper.load_paper("cgan")
    cells = PaperGrid(cgan, cgan.chosen(["3"], None), own).cells
    made = {cell.classifier.name: cell.classifier for _, cell in cells}
    assert made["rnet"] == ClassifierTarget("cifar10", "rnet", 2, tuple(sorted(options.items())))
    assert made["dnet"] == ClassifierTarget("cifar10", "dnet")
    given = []
    monkeypatch.setattr(
        "tfdefense.papers.targets.train_classifier",
        lambda experiment, context, run: given.append((experiment, context)),
    )
    made["rnet"].make(TargetStore(tmp_path, None))
    training = ClassifierConfig(epochs=2, **options)
    experiment = ClassifierExperiment("rnet", DataConfig("cifar10"), training=training)
    assert given == [(experiment, ExperimentContext(None))]


OF_SCHEMA_1 = {
    "loop": "7af6ef7b",
    "classifiers": "ec215693",
    "defenses": "8051b797",
    "anet": "b491a695",
    "bnet": "5235a1b0",
    "cifar_cnn": "b491a695",
    "defense_gan_a": "5235a1b0",
    "defense_gan_b": "b491a695",
    "defense_gan_c": "2c309121",
    "defense_gan_d": "368df127",
    "densenet": "04e81186",
    "dnet": "04e81186",
    "lenet": "5da10c25",
    "mnist_cnn": "b491a695",
    "resnet18": "91306779",
    "rnet": "a6a32fab",
    "vgg16": "3f8be5f0",
    "adversarial_training": "76517b69",
    "apegan": "1008b656",
    "apeganpp": "46c1b1fe",
    "bit_depth": "bfa69030",
    "cgan": "f83a01f2",
    "defense_gan": "a21ec055",
    "magnet": "525cb146",
    "spatial_smoothing": "4d2b50d8",
    "total_variation": "adc98640",
}


def test_recipes_and_defaults_are_those_of_the_schema():
    """Keys of artefacts hold none of them. After a change: raise `SCHEMA` where figures depend on it; then mend the hash."""
    cells = [cell for name in paper.paper_names() for _, cell in grid(name).cells]
    classifiers = {cell.classifier.name for cell in cells}
    defenses = {cell.defense.defense for cell in cells if cell.defense}
    found = {
        "loop": vars(LoopConfig(1)),
        "classifiers": vars(ClassifierConfig()),
        "defenses": str(inspect.signature(LearnedDefense.loop_config)),
    }
    for name in sorted(classifiers):
        architecture = CLASSIFIERS.get(name)
        found[name] = [vars(architecture.grey), vars(architecture.color)]
    for name in sorted(defenses):
        found[name] = vars(DEFENSES.get(name).config_type())
    short = {
        name: hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()[:8]
        for name, value in found.items()
    }
    assert (SCHEMA, short) == (1, OF_SCHEMA_1)


def test_choices_have_reasons():
    for name in paper.paper_names():
        assert all(reason for _, _, reason in paper.load_paper(name).choices())
