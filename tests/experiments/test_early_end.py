"""Runs whose training ended before its last step, because robustness collapsed."""

import json

import numpy as np
import pytest
import tensorflow as tf

from tests.conftest import make_toy_model
from tfdefense.defenses import robust_purifier
from tfdefense.errors import UserError
from tfdefense.experiments.evaluate import load_target
from tfdefense.experiments.export import export_run
from tfdefense.experiments.from_flags import experiment_from_flags
from tfdefense.experiments.load import load_defense, load_experiment
from tfdefense.experiments.train import train_defense
from tfdefense.training.run_directory import RunDirectory


@pytest.fixture
def flags(toy_split, tmp_path):
    images = (np.tile(toy_split.images, (5, 1, 1, 1)) * 255).astype(np.uint8)
    np.savez(tmp_path / "toy.npz", images=images, labels=np.tile(toy_split.labels, 5))
    make_toy_model().save(tmp_path / "toy.keras")
    return {
        "defense": "robust_purifier",
        "dataset": f"npz:{tmp_path / 'toy.npz'}",
        "classifier": str(tmp_path / "toy.keras"),
        "epochs": 6,
        "batch_size": 24,
        "inner_attack": "nfgsm",
        "widths": (4, 8),
        "average": 0.9,
    }


def collapse(monkeypatch, accuracies=(0.8, 0.9, 0.1)):
    """Let validations return accuracies; return the list of the generator's weights in each."""
    remaining, weights = iter(accuracies), []

    def make_validator(pipeline_logits, *_):
        def validate():
            weights.append(pipeline_logits.func.__self__.generator.get_weights())
            return {"accuracy_pgd": next(remaining)}, {}

        return validate

    monkeypatch.setattr(robust_purifier, "make_robust_validator", make_validator)
    return weights


def assert_has_weights(defense, weights):
    for ours, theirs in zip(defense.generator.get_weights(), weights, strict=True):
        np.testing.assert_array_equal(ours, theirs)


@pytest.mark.slow
@pytest.mark.usefixtures("short_training")
def test_a_run_that_ended_early_opens_with_its_most_robust_averaged_weights(
    flags, tmp_path, monkeypatch
):
    run, weights = RunDirectory(tmp_path / "run"), collapse(monkeypatch)
    config = experiment_from_flags(flags)
    trained = train_defense(config, run=run)
    assert trained.should_stop
    assert_has_weights(trained, weights[1])
    hashes = json.loads((run.path / "files.json").read_text())
    assert 0 < hashes["step"] < load_experiment(run).steps
    assert f"checkpoints/ckpt-{hashes['step']}.index" in hashes["files"]

    assert_has_weights(load_defense(run), weights[1])
    target = load_target(run)
    assert_has_weights(target.defense, weights[1])
    exported = tf.saved_model.load(export_run(run, tmp_path / "export"))
    images = tf.constant(target.dataset.test.images[:2])
    served = exported.signatures["serving_default"](images)
    np.testing.assert_allclose(served["purified"], trained.purify(images), atol=1e-5)

    # The same command again does nothing but complete what is missing.
    before = {path: path.stat().st_mtime_ns for path in run.path.rglob("*")}
    assert_has_weights(train_defense(config, run=run), weights[1])
    assert {path: path.stat().st_mtime_ns for path in run.path.rglob("*")} == before
    (run.path / "files.json").unlink()
    train_defense(load_experiment(run).config, run=run)
    assert json.loads((run.path / "files.json").read_text()) == hashes
    assert len(weights) == 3


@pytest.mark.slow
@pytest.mark.usefixtures("short_training")
def test_a_run_without_its_checkpoints_is_not_trained_again_by_itself(flags, tmp_path, monkeypatch):
    run, config = RunDirectory(tmp_path / "run"), experiment_from_flags(flags)
    collapse(monkeypatch)
    train_defense(config, run=run)
    for path in (run.path / "checkpoints").iterdir():
        path.unlink()
    with pytest.raises(UserError, match=r"checkpoints/ckpt-\d+\..* is missing\. Copy the complete"):
        train_defense(config, run=run)
