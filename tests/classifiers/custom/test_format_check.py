"""Input formats that are found, for two balanced classes and for Keras Applications' conventions."""

from pathlib import Path

import keras
import numpy as np
import pytest

from tfdefense.classifiers import InputFormat
from tfdefense.classifiers.custom.custom_model import load_custom_model
from tfdefense.classifiers.custom.format_check import _sign_test
from tfdefense.data import Dataset, Split
from tfdefense.errors import UserError

CASES = Path(__file__).parent / "cases"


def colours(count, size=32):
    """Return images of three classes: mostly red, green or blue."""
    rng = np.random.default_rng(0)
    labels = np.arange(count) % 3
    images = 0.3 * rng.random((count, size, size, 3)).astype(np.float32)
    images[np.arange(count), :, :, labels] += 0.6
    split = Split(images, labels, 3)
    return Dataset("colours", split, split, split, ("red", "green", "blue"))


def save_colour_model(path, preset):
    """Save a linear model that is right for images in a preset's format only."""
    layers = [keras.layers.GlobalAveragePooling2D(), keras.layers.Dense(3, activation="softmax")]
    model = keras.Sequential([keras.Input((None, None, 3)), *layers])
    order = [2, 1, 0] if preset == "caffe" else [0, 1, 2]
    kernel = np.eye(3, dtype=np.float32)[order]
    data = colours(30)
    convert = InputFormat(input_preset=preset).make_layer(3)
    means = np.mean(convert(data.train.images), axis=(0, 1, 2))
    model.layers[-1].set_weights([kernel, -(means @ kernel)])
    model.save(path)


@pytest.mark.slow
def test_the_preset_is_found_and_accepted(tmp_path, capsys):
    save_colour_model(tmp_path / "theirs.keras", "caffe")
    data = colours(30)
    with pytest.raises(
        UserError, match=r"\d\d% given with the preset caffe.*--input_preset=caffe "
    ):
        load_custom_model(tmp_path / "theirs.keras", data)
    load_custom_model(tmp_path / "theirs.keras", data, InputFormat(input_preset="caffe"))
    assert "100.0% of 30 validation images" in capsys.readouterr().out


def halves(count):
    """Return images of two balanced classes, of which the upper or the lower half is brighter."""
    rng = np.random.default_rng(0)
    labels = np.arange(count) % 2
    images = 0.4 * rng.random((count, 8, 8, 1)).astype(np.float32)
    images[labels == 0, :4] += 0.1
    images[labels == 1, 4:] += 0.1
    split = Split(images, labels, 2)
    return Dataset("halves", split, split, split, ("upper", "lower"))


def save_halves_model(path, end, scale=1.0):
    """Save a model of one unit for images in [0, scale], whose bias makes it fail in [0, 1]."""
    kernel = np.repeat([-1.0, 1.0], 32)[:, None].astype(np.float32)
    dense = keras.layers.Dense(1, activation=end)
    model = keras.Sequential([keras.Input((8, 8, 1)), keras.layers.Flatten(), dense])
    rest = 0.0 if scale == 1.0 else 25.0
    # The absolute offset is small for images in [0, 255] and decides for images in [0, 1].
    dense.set_weights([kernel, np.array([rest], np.float32)])
    model.save(path)


def test_a_wrong_range_is_found_for_two_balanced_classes(tmp_path):
    save_halves_model(tmp_path / "theirs.keras", "sigmoid", scale=255.0)
    data = halves(60)
    with pytest.raises(
        UserError, match=r"is 50% on 60 images given in \[0, 1\].*--input_range=0,255"
    ):
        load_custom_model(tmp_path / "theirs.keras", data)


@pytest.mark.slow
@pytest.mark.parametrize("end", ["sigmoid", "linear"])
def test_one_unit_gives_two_logits(tmp_path, end):
    save_halves_model(tmp_path / "theirs.keras", end)
    data = halves(20)
    classifier = load_custom_model(tmp_path / "theirs.keras", data)
    logits = np.asarray(classifier(data.test.images))
    assert logits.shape == (20, 2)
    assert np.all(logits[:, 0] == 0)
    assert np.array_equal(np.argmax(logits, axis=1), data.test.labels)


def test_the_sign_test_counts_only_images_that_differ():
    ones, zeros = np.ones(5, bool), np.zeros(5, bool)
    assert _sign_test(ones, zeros) == 1 / 32
    assert _sign_test(ones, ones) == 1.0
    assert _sign_test(np.append(ones, False), np.append(zeros, True)) == 7 / 64


@pytest.mark.slow
def test_a_model_that_has_learned_nothing_is_accepted_in_any_format(tmp_path):
    """It returns the last class for dark images and the first one, the largest, for bright ones."""
    rng = np.random.default_rng(0)
    labels = np.repeat([0, 1, 2], [45, 35, 20])
    split = Split(rng.random((100, 8, 8, 1)).astype(np.float32), labels, 3)
    layers = [keras.layers.GlobalAveragePooling2D(), keras.layers.Dense(3)]
    model = keras.Sequential([keras.Input((8, 8, 1)), *layers])
    model.layers[-1].set_weights([np.array([[1, 0, -1.0]]), np.array([-1.5, -9, 1.5])])
    model.save(tmp_path / "naive.keras")
    data = Dataset("noise", split, split, split, ("first", "second", "last"))
    load_custom_model(tmp_path / "naive.keras", data)
