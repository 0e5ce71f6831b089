"""The precision that `--mixed_precision=auto` chose is stored, and a resumed run repeats it."""

import dataclasses

import pytest

from tfdefense.classifiers import ClassifierConfig
from tfdefense.experiments.classifier_config import ClassifierExperiment
from tfdefense.experiments.config import DefenseConfig, ExperimentConfig, TrainingConfig
from tfdefense.experiments.inputs import DataConfig
from tfdefense.experiments.plan import plan_training
from tfdefense.experiments.train_classifier import train_classifier
from tfdefense.training import precision_trial
from tfdefense.training.run_directory import RunDirectory


@pytest.fixture
def speedup(monkeypatch):
    """Return a function that replaces the result of the trial, also of short trainings."""
    monkeypatch.setattr(precision_trial, "_MIN_VALUES", 0)
    monkeypatch.setattr(precision_trial, "computes_natively", lambda: True)
    return lambda ratio: monkeypatch.setattr(precision_trial, "measure_speedup", lambda: ratio)


def test_a_defence_stores_the_choice_and_keeps_it(speedup, tmp_path):
    run = RunDirectory(tmp_path / "run")
    training = TrainingConfig(epochs=1, mixed_precision="auto")
    config = ExperimentConfig(DefenseConfig("apegan"), DataConfig("digits"), training=training)
    speedup(2.0)
    plan = plan_training(config, run=run)
    assert plan.loop.mixed_precision == plan.config.training.mixed_precision == "bfloat16"
    run.create_or_reuse(plan.to_stored())
    speedup(0.5)
    assert plan_training(config, run=run).loop.mixed_precision == "bfloat16"
    given = dataclasses.replace(training, mixed_precision="float32")
    other = dataclasses.replace(config, training=given)
    assert plan_training(other, run=run).loop.mixed_precision == "float32"
    assert (
        plan_training(config, run=RunDirectory(tmp_path / "new")).loop.mixed_precision == "float32"
    )


@pytest.mark.slow
def test_a_classifier_stores_the_choice_and_keeps_it(speedup, tmp_path):
    run = RunDirectory(tmp_path / "run")
    training = ClassifierConfig(epochs=1, mixed_precision="auto")
    experiment = ClassifierExperiment("lenet", DataConfig("digits"), training=training)
    speedup(2.0)
    train_classifier(experiment, run=run)
    assert run.read_config().settings["mixed_precision"] == "bfloat16"
    written = run.classifier_path.read_bytes()
    speedup(0.5)
    train_classifier(experiment, run=run)
    assert run.read_config().settings["mixed_precision"] == "bfloat16"
    assert run.classifier_path.read_bytes() == written
