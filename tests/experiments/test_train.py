import numpy as np

import tfdefense
from tests.conftest import make_toy_model
from tfdefense.experiments import train
from tfdefense.experiments.plan import planned


def test_a_defence_that_is_found_is_judged_on_the_split_that_it_was_trained_by(toy_split, tmp_path):
    """By the default split, test images may be some that it was trained on."""
    name = f"npz:{tmp_path / 'toy.npz'}"
    np.savez(
        tmp_path / "toy.npz",
        images=np.tile(toy_split.images, (4, 1, 1, 1))
        * np.linspace(0.5, 1, 96)[:, None, None, None],
        labels=np.tile(toy_split.labels, 4),
    )
    make_toy_model().save(tmp_path / "toy.keras")
    given = {"defense": "apegan", "dataset": name, "classifier": str(tmp_path / "toy.keras")}
    seeded = {**given, "split_seed": 5, "epochs": 1, "train_images": 8}
    train.fitted(planned(seeded, None, None, False, tmp_path / "runs"), tmp_path / "runs")
    _, _, dataset = train.find(given, runs_dir=tmp_path / "runs")
    of = {seed: tfdefense.data.load(name, split_seed=seed).test.images for seed in (0, 5)}
    assert not np.array_equal(of[0], of[5])
    np.testing.assert_array_equal(dataset.test.images, of[5])
