"""A defence that begins with another's weights."""

import numpy as np
import pytest

from tests.conftest import make_toy_model
from tfdefense.errors import UserError
from tfdefense.experiments.plan import planned
from tfdefense.experiments.train import fitted, load_defense
from tfdefense.training.run_directory import RunDirectory


@pytest.fixture
def settings(toy_split, tmp_path):
    np.savez(
        tmp_path / "toy.npz",
        images=(np.tile(toy_split.images, (3, 1, 1, 1)) * 255).astype(np.uint8),
        labels=np.tile(toy_split.labels, 3),
    )
    make_toy_model().save(tmp_path / "toy.keras")
    return {
        "dataset": f"npz:{tmp_path / 'toy.npz'}",
        "classifier": str(tmp_path / "toy.keras"),
        "batch_size": 16,
        "epochs": 1,
    }


def fit(settings, path, **more):
    return fitted(planned({**settings, **more}, RunDirectory(path), None))


def weights(defense):
    """Without moving means and variances, which follow the images of every step."""
    return np.concatenate([each.numpy().ravel() for each in defense.generator.trainable_variables])


def test_it_begins_where_the_other_ended(settings, tmp_path):
    first = fit(settings, tmp_path / "first", defense="apegan")
    tiny = {
        "generator": "encoder_decoder",
        "thresholds": 0,
        "inner_steps": 1,
        "learning_rate": 1e-9,
    }
    second = {"defense": "robust_purifier", "init_run": str(tmp_path / "first"), **tiny}
    begun = fit(settings, tmp_path / "second", **second)
    np.testing.assert_allclose(weights(begun), weights(first), atol=1e-6)
    alone = fit(settings, tmp_path / "third", defense="robust_purifier", **tiny)
    assert np.abs(weights(alone) - weights(first)).max() > 1e-4
    kept = RunDirectory(tmp_path / "second").read_config()
    assert kept.settings["init_run"].startswith("apegan-")
    again = fitted(planned({"epochs": 1}, RunDirectory(tmp_path / "second"), None))
    np.testing.assert_array_equal(weights(again), weights(begun))
    np.testing.assert_array_equal(weights(load_defense(RunDirectory(tmp_path / "second"))), weights(begun))


def test_one_that_does_not_fit_leaves_nothing_behind(settings, tmp_path):
    fit(settings, tmp_path / "first", defense="apegan")
    given = {"defense": "robust_purifier", "init_run": str(tmp_path / "first")}
    with pytest.raises(UserError, match="--init_run: the generator of that apegan is not like"):
        fit(settings, tmp_path / "second", **given)
    assert not (tmp_path / "second").exists()
    with pytest.raises(UserError, match=r"--init_run=.*gone"):
        fit(settings, tmp_path / "second", defense="apegan", init_run=str(tmp_path / "gone"))
    few = {name: settings[name] for name in ("dataset", "classifier")}
    with pytest.raises(UserError, match="--init_run: --defense=bit_depth learns nothing"):
        fit(few, tmp_path / "second", defense="bit_depth", init_run="x")
    assert not (tmp_path / "second").exists()
