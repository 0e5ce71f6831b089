"""A directory with one small finished run, which the tests of all commands share."""

import shutil
from pathlib import Path

import keras
import numpy as np
import pytest

import tfdefense
from tests.once import make_once
from tests.small_classifier import train_small_classifier
from tfdefense.cli.main import main
from tfdefense.utils.file_lock import lock_directory

QUICK = [
    *("train", "--defense=apeganpp", "--epochs=1", "--train_images=256"),
    *("--images=20", "--white_box_images=4", "--attacks=fgsm,pgd"),
]


def custom_model():
    """Return a model of images in [0, 255] with a softmax at its end, right about most digits."""
    digits = tfdefense.data.load("digits")
    layers = [keras.layers.Flatten(), keras.layers.Dense(10, activation="softmax")]
    model = keras.Sequential(
        [keras.Input((28, 28, 1)), keras.layers.Rescaling(1 / 127.5, -1), *layers], name="any"
    )
    model.compile("adam", "sparse_categorical_crossentropy")
    images = 255 * digits.train.images
    model.fit(images, digits.train.labels, epochs=10, batch_size=32, verbose=0)
    return model


def pytest_collection_modifyitems(items):
    """Mark tests that need the finished run as slow, because one process must train it first."""
    for item in items:
        if item.path.parent == Path(__file__).parent and "place" in item.fixturenames:
            item.add_marker(pytest.mark.slow)


def make_place(place):
    """Fill a directory with a small finished run, a custom model and a small dataset."""
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(place)
        train_small_classifier(patch)
        assert main(QUICK) == 0
        custom_model().save("custom.keras")
        rng = np.random.default_rng(0)
        small = rng.integers(0, 256, (40, 8, 8), np.uint8)
        np.savez("small.npz", images=small, labels=np.arange(40) % 4)


@pytest.fixture(scope="session")
def place(tmp_path_factory):
    """Copy the directory of `make_place`, which is made once, for the tests of this process."""
    finished = make_once(tmp_path_factory, "cli_place", make_place)
    place = shutil.copytree(finished, tmp_path_factory.mktemp("cli") / "place")
    # A process that locks a run writes its number into the run. Do it before tests compare files.
    for lock in place.rglob(".lock"):
        lock_directory(lock.parent, "run")
    return place


@pytest.fixture
def run(place, monkeypatch):
    monkeypatch.chdir(place)
    return Path("runs/digits-mnist_cnn-apeganpp")
