"""A directory with one small finished run, which the tests of all commands share."""

import dataclasses
from pathlib import Path

import keras
import numpy as np
import pytest

import tfdefense
from tfdefense.classifiers import mnist_cnn
from tfdefense.classifiers.core.architecture import Recipe
from tfdefense.cli.main import main

QUICK = [
    *("train", "--defense=apeganpp", "--epochs=1", "--images=20", "--white_box_images=4"),
    *("--attacks=fgsm,pgd",),
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


def shorten_classifier(patch):
    """Train mnist_cnn on 6,000 images only."""
    short = dataclasses.replace(mnist_cnn.MNIST_CNN, grey=Recipe(training_images=6_000))
    patch.setattr(mnist_cnn, "MNIST_CNN", short)


def pytest_collection_modifyitems(items):
    """Mark tests that need the finished run as slow, because each process must train it first."""
    for item in items:
        if item.path.parent == Path(__file__).parent and "place" in item.fixturenames:
            item.add_marker(pytest.mark.slow)


@pytest.fixture(scope="session")
def place(tmp_path_factory):
    """Make a directory with a small finished run, a custom model and a small dataset."""
    place = tmp_path_factory.mktemp("cli")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(place)
        shorten_classifier(patch)
        assert main(QUICK) == 0
        custom_model().save("custom.keras")
        rng = np.random.default_rng(0)
        small = rng.integers(0, 256, (40, 8, 8), np.uint8)
        np.savez("small.npz", images=small, labels=np.arange(40) % 4)
    return place


@pytest.fixture
def run(place, monkeypatch):
    monkeypatch.chdir(place)
    return Path("runs/digits-mnist_cnn-apeganpp")
