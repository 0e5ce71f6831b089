"""What is kept of the trainings behind a table."""

import json
from types import SimpleNamespace

import numpy as np
import pytest

from tfdefense.papers import curves
from tfdefense.training.stored_config import StoredConfig

STEPS = np.arange(10, 101, 10)
GAN = {"train/loss_generator": (STEPS, STEPS / 7.0), "train/loss_critic": (STEPS, -STEPS / 3.0)}
ACCURACIES = {
    "validation/accuracy_fgsm_0.1": (np.array([50, 100]), np.array([0.9, 0.95])),
    "validation/accuracy_fgsm_0.3": (np.array([50, 100]), np.array([0.7, 0.8])),
}


@pytest.fixture
def trained(tmp_path):
    config = StoredConfig("defense", {}, {"steps": 100})
    return SimpleNamespace(
        passes=2,
        path=lambda store: tmp_path / "mnist-lenet-gan-0",
        is_done=lambda store: True,
        run=lambda store: SimpleNamespace(read_config=lambda: config),
    )


def test_a_purifier_s_losses_and_accuracy_under_the_strongest_fgsm(trained, tmp_path, monkeypatch):
    monkeypatch.setattr(curves, "training_curves", lambda run: {**GAN, **ACCURACIES})
    [(found, panels)] = curves.collect_curves([trained], None, tmp_path)
    assert found is trained
    assert list(panels) == ["loss generator", "loss critic", "accuracy fgsm 0.3"]
    assert panels["accuracy fgsm 0.3"] == {"passes": [1.0, 2.0], "values": [0.7, 0.8]}
    np.testing.assert_allclose(panels["loss critic"]["passes"], STEPS / 50)
    assert json.loads((tmp_path / "mnist-lenet-gan-0.json").read_text()) == panels


@pytest.mark.parametrize("without", [GAN, ACCURACIES], ids=["no images to purify", "no GAN"])
def test_nothing_of_what_has_no_such_curves(trained, tmp_path, monkeypatch, without):
    monkeypatch.setattr(curves, "training_curves", lambda run: without)
    assert curves.collect_curves([trained], None, tmp_path) == []
    assert list(tmp_path.iterdir()) == []
