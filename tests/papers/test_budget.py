"""Rules of a budget."""

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
