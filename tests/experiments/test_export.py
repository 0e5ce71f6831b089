"""The report that an export of a run has in its model card."""

import dataclasses
import json

import numpy as np
import pytest

from tests.conftest import make_toy_model
from tfdefense.errors import UserError
from tfdefense.evaluation.protocol import EvaluationConfig
from tfdefense.evaluation.run_evaluation import evaluate_run
from tfdefense.experiments import export as export_module
from tfdefense.experiments.evaluate import load_target
from tfdefense.experiments.export import export_run
from tfdefense.experiments.from_flags import experiment_from_flags
from tfdefense.experiments.inputs import DataConfig
from tfdefense.experiments.load import load_dataset
from tfdefense.experiments.train import train_defense
from tfdefense.training.run_directory import RunDirectory

LEFT_OUT = "The report is left out of the model card: the"


@pytest.fixture
def run(toy_split, tmp_path):
    """The run of a defence that does not learn, with a report that has transfer rows."""
    images = np.tile(toy_split.images, (4, 1, 1, 1)) * np.linspace(0.5, 1, 96)[:, None, None, None]
    np.savez(tmp_path / "toy.npz", images=images, labels=np.tile(toy_split.labels, 4))
    source = str(tmp_path / "source.keras")
    for path in (tmp_path / "toy.keras", source):
        make_toy_model().save(path)
    flags = {"dataset": f"npz:{tmp_path / 'toy.npz'}", "classifier": str(tmp_path / "toy.keras")}
    run = RunDirectory(tmp_path / "run")
    train_defense(experiment_from_flags({"defense": "bit_depth", **flags}), run=run)
    config = EvaluationConfig(
        attacks=("fgsm",),
        images=4,
        white_box_images=4,
        checks=("none",),
        threat_models=("white_box", "transfer"),
        source=source,
    )
    target = load_target(run)
    evaluate_run(run, target.defense, target.dataset, config, tmp_path / "runs")
    return run


@pytest.fixture
def exported_facts(run, tmp_path, monkeypatch):
    """A function that exports the run and returns the facts that the exporter is given."""
    found = []

    def export(defense, output, variant, version, facts):
        found.append(facts)
        return output / "1"

    monkeypatch.setattr(export_module, "export", export)

    def exported_facts():
        export_run(run, tmp_path / "model")
        return found.pop()

    return exported_facts


def use_other_test_images(monkeypatch):
    """Let datasets have their test images in another order."""
    load = DataConfig.load_dataset

    def load_others(*arguments, **options):
        dataset = load(*arguments, **options)
        others = dataset.test.select(np.arange(len(dataset.test))[::-1])
        return dataclasses.replace(dataset, test=others)

    monkeypatch.setattr(DataConfig, "load_dataset", load_others)


def remove_images(monkeypatch):
    def fail(*_, download):
        raise UserError("--dataset=toy: gone.")

    monkeypatch.setattr(DataConfig, "load_dataset", fail)


def change_classifier(run):
    """Let the report be that of another classifier of the same name."""
    path = run.path / "report.json"
    content = json.loads(path.read_text())
    content["fingerprints"]["classifier"] = "2-" + "0" * 32
    path.write_text(json.dumps(content))


def test_only_a_report_of_these_test_images_is_in_the_card(exported_facts, monkeypatch, capsys):
    assert exported_facts().report is not None
    assert LEFT_OUT not in capsys.readouterr().out
    use_other_test_images(monkeypatch)
    assert exported_facts().report is None
    printed = capsys.readouterr().out
    assert f"{LEFT_OUT} test images or the classifier changed since" in printed
    assert "Make it again with: bin/evaluate --run=" in printed
    assert printed.count("\n") == 1


def test_an_export_is_calibrated_on_the_validation_images(run, exported_facts):
    expected = load_dataset(run).validation.images
    np.testing.assert_array_equal(exported_facts().validation_images.images, expected)


def test_without_images_only_the_classifier_is_compared(run, exported_facts, monkeypatch, capsys):
    remove_images(monkeypatch)
    assert exported_facts().report is not None
    change_classifier(run)
    assert exported_facts().report is None
    assert f"{LEFT_OUT} classifier changed since" in capsys.readouterr().out


def test_the_source_of_transfer_attacks_need_not_be_there(exported_facts, tmp_path):
    """It is not part of the model."""
    (tmp_path / "source.keras").unlink()
    assert exported_facts().report is not None
