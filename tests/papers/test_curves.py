"""Training curves of the defences behind a table."""

import json
from types import SimpleNamespace

import numpy as np
import pytest

from tfdefense.papers import curves
from tfdefense.training.stored_config import StoredConfig

STEPS = np.arange(10, 101, 10)
LOSSES = {"train/loss_generator": (STEPS, STEPS / 7.0), "train/loss_critic": (STEPS, -STEPS / 3.0)}
ACCURACIES = {
    "validation/accuracy_fgsm_0.1": (np.array([50, 100]), np.array([0.9, 0.95])),
    "validation/accuracy_fgsm_0.3": (np.array([50, 100]), np.array([0.7, 0.8])),
}


@pytest.fixture
def target(tmp_path):
    config = StoredConfig("defense", {}, {"steps": 100})
    return SimpleNamespace(
        passes=2,
        path=lambda store: tmp_path / "mnist-lenet-gan-0",
        is_done=lambda store: True,
        run=lambda store: SimpleNamespace(read_config=lambda: config),
    )


def test_curves_are_both_losses_and_accuracy_under_the_strongest_fgsm(
    target, tmp_path, monkeypatch
):
    monkeypatch.setattr(curves, "load_training_curves", lambda run: {**LOSSES, **ACCURACIES})
    [(found, panels)] = curves.collect_curves([target], None, tmp_path)
    assert found is target
    assert list(panels) == ["loss generator", "loss critic", "accuracy fgsm 0.3"]
    assert panels["accuracy fgsm 0.3"] == {"passes": [1.0, 2.0], "values": [0.7, 0.8]}
    np.testing.assert_allclose(panels["loss critic"]["passes"], STEPS / 50)
    assert json.loads((tmp_path / "mnist-lenet-gan-0.json").read_text()) == panels


@pytest.mark.parametrize("logged", [LOSSES, ACCURACIES], ids=["no purified images", "no GAN"])
def test_other_defences_have_no_curves(target, tmp_path, monkeypatch, logged):
    monkeypatch.setattr(curves, "load_training_curves", lambda run: logged)
    assert curves.collect_curves([target], None, tmp_path) == []
    assert list(tmp_path.iterdir()) == []
