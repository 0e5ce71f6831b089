"""Rules that older versions did not have: new trainings obey them, older runs open."""

import keras
import numpy as np
import pytest

from tfdefense.defenses import get_defense_class
from tfdefense.errors import UserError
from tfdefense.experiments.context import ExperimentContext
from tfdefense.experiments.create_run import create_run
from tfdefense.experiments.from_flags import experiment_from_flags
from tfdefense.experiments.load import load_defense, load_experiment
from tfdefense.experiments.plan import plan_training
from tfdefense.experiments.train import train_defense
from tfdefense.training.run_directory import RunDirectory

CASES = [
    ({"defense": "robust_purifier", "inner_epsilon": 0.0}, "--inner_epsilon=0.0: above 0"),
    ({"defense": "robust_purifier", "widths": (2, 4)}, "--widths=2,4: images with 3 channels"),
    (
        {"defense": "bit_depth+robust_purifier", "widths": (2, 4)},
        "--widths=2,4: images with 3 channels",
    ),
    ({"defense": "adversarial_training", "inner_epsilon": 0.0}, "--inner_epsilon=0.0: above 0"),
    (
        {"defense": "apegan+robust_purifier", "inner_attack": "nfgsm"},
        "--inner_attack=nfgsm: .* trains 2 parts",
    ),
]


@pytest.fixture
def flags(tmp_path):
    images = np.random.default_rng(0).integers(0, 256, (120, 8, 8, 3)).astype(np.uint8)
    np.savez(tmp_path / "small.npz", images=images, labels=np.arange(120) % 3)
    layers = [keras.Input((8, 8, 3)), keras.layers.Flatten(), keras.layers.Dense(3)]
    keras.Sequential(layers, name="small").save(tmp_path / "small.keras")
    return {
        "dataset": f"npz:{tmp_path / 'small.npz'}",
        "classifier": str(tmp_path / "small.keras"),
        "epochs": 1,
        "train_images": 8,
        "batch_size": 8,
        "inner_steps": 1,
    }


@pytest.mark.parametrize(("given", "message"), CASES)
def test_a_new_training_is_refused_before_anything_is_written(flags, tmp_path, given, message):
    run = RunDirectory(tmp_path / "run")
    with pytest.raises(UserError, match=message):
        train_defense(experiment_from_flags({**flags, **given}), run=run)
    assert not run.path.exists()


def test_a_batch_that_replicas_cannot_share_is_refused_first(flags, tmp_path, two_replicas):
    run = RunDirectory(tmp_path / "run")
    given = {**flags, "defense": "robust_purifier", "batch_size": 7}
    with (
        two_replicas.scope(),
        pytest.raises(UserError, match="--batch_size=7: not a multiple of the 2 replicas"),
    ):
        train_defense(experiment_from_flags(given), run=run)
    assert not run.path.exists()


@pytest.mark.slow
@pytest.mark.usefixtures("short_training")
@pytest.mark.parametrize("given", [case[0] for case in CASES[:4]])
def test_a_run_of_an_older_version_opens(flags, tmp_path, monkeypatch, given):
    run = RunDirectory(tmp_path / "run")
    with monkeypatch.context() as older:
        kind = get_defense_class(given["defense"])
        older.setattr(kind, "check_new_training", lambda *_: None)
        train_defense(experiment_from_flags({**flags, **given}), run=run)
    assert load_defense(run).name == given["defense"]
    train_defense(load_experiment(run).config, run=run)


@pytest.mark.parametrize(("given", "hinted"), [({}, True), ({"recipe": "color"}, False)])
def test_a_recipe_for_colour_is_named_if_the_defaults_are_for_grey_images(
    flags, tmp_path, capsys, given, hinted
):
    del flags["inner_steps"]
    run, context = RunDirectory(tmp_path / "run"), ExperimentContext()
    config = experiment_from_flags({"defense": "robust_purifier", **flags, **given})
    create_run(plan_training(config, context, run), context)
    assert ("Consider --recipe=color" in capsys.readouterr().out) == hinted
    create_run(plan_training(config, context, run), context)
    assert "--recipe" not in capsys.readouterr().out  # The run exists.
