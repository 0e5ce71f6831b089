"""Rules of a budget."""

from tests.papers.conftest import make_grid
from tfdefense.classifiers import ClassifierConfig
from tfdefense.experiments.classifier_config import ClassifierExperiment
from tfdefense.experiments.context import ExperimentContext
from tfdefense.experiments.inputs import DataConfig
from tfdefense.papers.budget import Budget, load_budget
from tfdefense.papers.grid import PaperGrid
from tfdefense.papers.paper import load_paper
from tfdefense.papers.store import TargetStore
from tfdefense.papers.targets import ClassifierTarget


def test_the_last_rule_that_applies_wins():
    cpu = load_budget("cpu")
    assert cpu.value("images", "mnist", "lenet") == 10_000
    assert cpu.value("images", "mnist", "lenet", attack="cw") < 10_000
    assert cpu.value("images", "mnist", "resnet18", attack="cw") < cpu.value(
        "images", "mnist", "lenet", attack="cw"
    )
    assert cpu.value("images", "mnist", "lenet", "defense_gan", "fgsm") == 100
    assert cpu.value("options", "mnist", "lenet") is None


def test_deep_classifiers_on_cifar10_have_these_images_and_trainings():
    cells = [
        cell
        for table in ("I", "II", "V", "VI", "IX", "X")
        for _, cell in make_grid(tables=[table], dataset="cifar10").cells
        if cell.classifier.name in ("resnet18", "vgg16", "densenet")
    ]
    counts = {"fgsm": (1000, 50), "bim": (1000, 50), "deepfool": (1000, 50)}
    counts |= {"cw": (128, 20), "jsma": (100, 10), "benign": (10_000, 0)}
    trainings = {
        "apegan": (3, 48_000, {"batch_size": 32}),
        "apeganpp": (6, 48_000, {"batch_size": 32, "strengths": (0.01, 0.03)}),
        "adversarial_training": (2, 48_000, {"inner_attack": "fgsm", "inner_epsilon": 0.03}),
    }
    classifier_options = {"label_smoothing": 0.0, "mixed_precision": "bfloat16"}
    assert len(cells) == 153
    found = set()
    for cell in cells:
        attack = cell.examples.attack.partition(":")[0] if cell.examples else "benign"
        assert (cell.images, cell.defense and cell.white_box_images) in (
            counts[attack],
            (counts[attack][0], None),
        )
        assert (cell.classifier.passes, dict(cell.classifier.options)) == (12, classifier_options)
        defense = cell.defense
        if defense and defense.defense in trainings and defense.classifier == cell.classifier:
            passes, images, options = trainings[defense.defense]
            assert (defense.passes, defense.train_images) == (passes, images)
            assert options.items() <= dict(defense.options).items()
            found.add(defense.defense)
    assert found == set(trainings)


def test_a_rule_sets_the_training_of_a_classifier(monkeypatch, tmp_path):
    options = {"mixed_precision": "bfloat16", "batch_size": 64}
    rule = {"classifier": "rnet", "classifier_passes": 2, "classifier_options": options}
    budget = Budget("own", "", [{"images": 5, "white_box_images": 1}, rule])
    cgan = load_paper("cgan")
    cells = PaperGrid(cgan, cgan.select(["3"], None), budget).cells
    targets = {cell.classifier.name: cell.classifier for _, cell in cells}
    assert targets["rnet"] == ClassifierTarget("cifar10", "rnet", 2, tuple(sorted(options.items())))
    assert targets["dnet"] == ClassifierTarget("cifar10", "dnet")
    calls = []
    monkeypatch.setattr(
        "tfdefense.papers.targets.train_classifier",
        lambda experiment, context, run: calls.append((experiment, context)),
    )
    targets["rnet"].make(TargetStore(tmp_path, None))
    training = ClassifierConfig(epochs=2, **options)
    experiment = ClassifierExperiment("rnet", DataConfig("cifar10"), training=training)
    assert calls == [(experiment, ExperimentContext(None))]
