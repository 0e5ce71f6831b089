"""A defence that begins with the weights of another."""

import json
import shutil

import numpy as np
import pytest

from tests.conftest import make_toy_model
from tfdefense.errors import UserError
from tfdefense.experiments.from_flags import experiment_from_flags
from tfdefense.experiments.load import load_defense, load_experiment
from tfdefense.experiments.train import train_defense
from tfdefense.training.run_directory import RunDirectory


@pytest.fixture
def flags(toy_split, tmp_path):
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


def fit(flags, path, **more):
    return train_defense(experiment_from_flags({**flags, **more}), run=RunDirectory(path))


def weights(defense):
    """Return the weights without moving means and variances, which follow the images of every step."""
    return np.concatenate([each.numpy().ravel() for each in defense.generator.trainable_variables])


@pytest.mark.usefixtures("short_training")
@pytest.mark.slow
def test_training_begins_with_the_weights_of_the_other(flags, tmp_path):
    first = fit(flags, tmp_path / "first", defense="apegan")
    tiny = {
        "generator": "encoder_decoder",
        "thresholds": 0,
        "inner_steps": 1,
        "learning_rate": 1e-9,
    }
    second = {"defense": "robust_purifier", "init_run": str(tmp_path / "first"), **tiny}
    begun = fit(flags, tmp_path / "second", **second)
    np.testing.assert_allclose(weights(begun), weights(first), atol=1e-6)
    alone = fit(flags, tmp_path / "third", defense="robust_purifier", **tiny)
    assert np.abs(weights(alone) - weights(first)).max() > 1e-4
    run = RunDirectory(tmp_path / "second")
    assert run.read_config().settings["init_run"].startswith("apegan-")
    resumed = experiment_from_flags({"epochs": 1}, load_experiment(run).config)
    again = train_defense(resumed, run=run)
    np.testing.assert_array_equal(weights(again), weights(begun))
    np.testing.assert_array_equal(weights(load_defense(run)), weights(begun))
    shutil.rmtree(tmp_path / "first")
    alone = train_defense(experiment_from_flags({}, load_experiment(run).config), run=run)
    np.testing.assert_array_equal(weights(alone), weights(begun))


@pytest.mark.usefixtures("short_training")
@pytest.mark.slow
def test_weights_that_do_not_fit_leave_nothing_behind(flags, tmp_path):
    fit(flags, tmp_path / "first", defense="apegan")
    given = {"defense": "robust_purifier", "init_run": str(tmp_path / "first")}
    with pytest.raises(UserError, match="--init_run: network generator of that apegan differs"):
        fit(flags, tmp_path / "second", **given)
    assert not (tmp_path / "second").exists()
    config = json.loads((tmp_path / "first" / "config.json").read_text())
    del config["settings"]["defense"]
    shutil.copytree(tmp_path / "first", tmp_path / "damaged")
    (tmp_path / "damaged" / "config.json").write_text(json.dumps(config))
    with pytest.raises(UserError, match=r"damaged.*config\.json"):
        fit(flags, tmp_path / "second", **given | {"init_run": str(tmp_path / "damaged")})
    with pytest.raises(UserError, match=r"--init_run=.*gone"):
        fit(flags, tmp_path / "second", defense="apegan", init_run=str(tmp_path / "gone"))
    few = {name: flags[name] for name in ("dataset", "classifier")}
    with pytest.raises(UserError, match="--init_run: --defense=bit_depth does not learn"):
        fit(few, tmp_path / "second", defense="bit_depth", init_run="x")
    assert not (tmp_path / "second").exists()
