"""Input formats and orders of classes that are found."""

from pathlib import Path

import keras
import numpy as np
import pytest

from tfdefense.classifiers import InputFormat
from tfdefense.classifiers.custom.class_order import require_class_order
from tfdefense.classifiers.custom.clear_gain import sign_test
from tfdefense.classifiers.custom.custom_model import load_custom_model
from tfdefense.classifiers.resolve import choose
from tfdefense.data import Dataset, Split
from tfdefense.errors import UserError

CASES = Path(__file__).parent / "cases"


def colours(count, size=32):
    """Return images of three classes, which are a little more red, green or blue.

    The difference is smaller than that between the means of ImageNet for red and blue.
    """
    rng = np.random.default_rng(0)
    labels = np.arange(count) % 3
    images = 0.3 * rng.random((count, size, size, 3)).astype(np.float32)
    images[np.arange(count), :, :, labels] += 0.06
    split = Split(images, labels, 3)
    return Dataset("colours", split, split, split, ("red", "green", "blue"))


def save_colour_model(path, input_format, classes=(0, 1, 2)):
    """Save a linear model that is right for images in a format, whose outputs are these classes."""
    layers = [keras.layers.GlobalAveragePooling2D(), keras.layers.Dense(3, activation="softmax")]
    model = keras.Sequential([keras.Input((None, None, 3)), *layers])
    order = [2, 1, 0] if input_format.input_preset in ("caffe", "bgr") else [0, 1, 2]
    kernel = np.eye(3, dtype=np.float32)[order][:, [*classes]]
    images = colours(30).train.images
    convert = input_format.make_layer(3)
    means = np.mean(images if convert is None else convert(images), axis=(0, 1, 2))
    model.layers[-1].set_weights([kernel, -(means @ kernel)])
    model.save(path)


@pytest.mark.slow
def test_the_preset_is_found_and_accepted(tmp_path, capsys):
    save_colour_model(tmp_path / "theirs.keras", InputFormat(input_preset="caffe"))
    data = colours(30)
    with pytest.raises(
        UserError, match=r"\d\d% given with the preset caffe.*--input_preset=caffe "
    ):
        load_custom_model(tmp_path / "theirs.keras", data)
    load_custom_model(tmp_path / "theirs.keras", data, InputFormat(input_preset="caffe"))
    assert "100.0% of 30 validation images" in capsys.readouterr().out


BGR = InputFormat((0, 255), input_preset="bgr")


def test_images_with_blue_first_are_found_and_accepted(tmp_path, capsys):
    save_colour_model(tmp_path / "theirs.keras", BGR)
    data = colours(60, 8)
    message = r"100% given in \[0, 255\] with blue first.*: --input_range=0,255 --input_preset=bgr "
    with pytest.raises(UserError, match=message):
        load_custom_model(tmp_path / "theirs.keras", data)
    load_custom_model(tmp_path / "theirs.keras", data, BGR)
    assert "100.0% of 60 validation images" in capsys.readouterr().out


def test_another_order_of_the_classes_is_found(tmp_path):
    save_colour_model(tmp_path / "theirs.keras", InputFormat((0, 255)), classes=(1, 2, 0))
    message = (
        r"0% of 60 images are correct, and 100% with the classes in another order: 0 is green,"
        r" 1 is blue, 2 is red \(now: 0 is red, 1 is green, 2 is blue\)\. Rename"
    )
    with pytest.raises(UserError, match=message):
        load_custom_model(tmp_path / "theirs.keras", colours(60, 8), InputFormat((0, 255)))


def test_an_order_has_to_fit_images_that_it_was_not_chosen_on():
    """Of 100 classes with five images each, some order fits any predictions."""
    rng = np.random.default_rng(0)
    labels, chance = rng.integers(0, 100, (2, 500))
    names = tuple(map(str, range(100)))
    require_class_order(Path("chance.keras"), chance, labels, names)
    moved = np.where(rng.random(500) < 0.1, chance, rng.permutation(100)[labels])
    with pytest.raises(UserError, match=r"[0-4]% of 500 images are correct, and 8\d% with"):
        require_class_order(Path("moved.keras"), moved, labels, names)


def test_one_class_for_all_images_is_no_order():
    labels = np.repeat([0, 1], [90, 10])
    require_class_order(Path("naive.keras"), np.ones(100, int), labels, ("usual", "rare"))


def halves(count):
    """Return images of two balanced classes, of which the upper or the lower half is brighter."""
    rng = np.random.default_rng(0)
    labels = np.arange(count) % 2
    images = 0.4 * rng.random((count, 8, 8, 1)).astype(np.float32)
    images[labels == 0, :4] += 0.1
    images[labels == 1, 4:] += 0.1
    split = Split(images, labels, 2)
    return Dataset("halves", split, split, split, ("upper", "lower"))


def save_halves_model(path, end, scale=1.0, *, is_reversed=False):
    """Save a model of one unit for images in [0, scale], whose bias makes it fail in [0, 1]."""
    kernel = np.repeat([1.0, -1.0] if is_reversed else [-1.0, 1.0], 32)[:, None].astype(np.float32)
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


def test_a_unit_that_is_the_first_of_two_classes_is_found(tmp_path):
    save_halves_model(tmp_path / "theirs.keras", "sigmoid", is_reversed=True)
    with pytest.raises(UserError, match=r"0% of 60 .* 100% with .*: 0 is lower, 1 is upper \(now"):
        load_custom_model(tmp_path / "theirs.keras", halves(60))


def test_a_source_is_not_described_by_flags_but_saved_in_another_way(tmp_path):
    path = tmp_path / "theirs.keras"
    save_halves_model(path, "sigmoid", scale=255.0)
    message = r"^--source=.* given in \[0, 255\]\. Save it .*, such as keras\.layers\.Rescaling\.$"
    with pytest.raises(UserError, match=message):
        choose(str(path), flag="source").open(halves(60))
    model = keras.saving.load_model(path)
    rescaled = keras.Sequential([keras.Input((8, 8, 1)), keras.layers.Rescaling(255.0), model])
    rescaled.save(path)
    assert choose(str(path), flag="source").open(halves(60)).num_classes == 2


def test_other_advice_for_a_source_names_no_flags_of_the_classifier(tmp_path):
    path = tmp_path / "theirs.keras"
    save_halves_model(path, "sigmoid", is_reversed=True)
    with pytest.raises(
        UserError, match=r"\)\. Save it with its outputs in the order of the classes"
    ):
        choose(str(path), flag="source").open(halves(60))
    images = keras.Input((8, 8, 1))
    flat = keras.layers.Flatten()(images)
    keras.Model(images, [keras.layers.Dense(2, name=name)(flat) for name in "ab"]).save(path)
    message = r"gives 2 outputs, one needed: a, b\. Save it with one output, or name one 'logits'"
    with pytest.raises(UserError, match=message):
        choose(str(path), flag="source").open(halves(60))


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
    assert sign_test(ones, zeros) == 1 / 32
    assert sign_test(ones, ones) == 1.0
    assert sign_test(np.append(ones, False), np.append(zeros, True)) == 7 / 64


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


def test_a_format_that_the_model_cannot_take_is_not_better(tmp_path, capsys):
    """On [0, 255], a softmax that is written by hand gives infinity / infinity."""
    images = keras.Input((32, 32, 3))
    kernel = 200 * (np.eye(3) - 1 / 3)
    logits = keras.layers.Dense(3, use_bias=False)(keras.layers.GlobalAveragePooling2D()(images))
    powers = keras.ops.exp(logits)
    total = keras.ops.sum(powers, -1, keepdims=True)
    model = keras.Model(images, keras.ops.divide(powers, total))
    next(layer for layer in model.layers if layer.weights).set_weights([kernel])
    model.save(tmp_path / "theirs.keras")
    data = colours(60)
    wrong = data.train.labels.copy()
    wrong[::10] = (wrong[::10] + 1) % 3  # 90 % can be correct, so other formats are tried.
    split = Split(data.train.images, wrong, 3)
    load_custom_model(tmp_path / "theirs.keras", Dataset("c", split, split, split))
    assert "90.0% of 60 validation images" in capsys.readouterr().out
