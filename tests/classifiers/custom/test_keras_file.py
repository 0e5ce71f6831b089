"""Files of Keras 2, which `tf_keras` wrote, and operations in files of Keras 3.

`cases/keras2.*` are one model with arithmetic, slices, a nested model, random layers and arguments that
Keras 3 does not know, trained with an optimizer that has slots.
"""

import errno
import json
import shutil
import sys
import zipfile
from pathlib import Path

import h5py
import keras
import numpy as np
import pytest
import tensorflow as tf

from tfdefense.classifiers.custom.keras_file import read_keras_model
from tfdefense.classifiers.custom.saved_model_layer import freeze_saved_model
from tfdefense.errors import UserError, WorkFailedError
from tfdefense.utils.trust import trust_model_files

CASES = Path(__file__).parent / "cases"
EXPECTED = np.load(CASES / "keras2.npz")
IMAGES = 255 * EXPECTED["images"]


@pytest.mark.parametrize("name", ["keras2.h5", "keras2.keras"])
def test_keras_2_files_give_the_probabilities_that_keras_2_gave(name, tmp_path):
    model = read_keras_model(CASES / name)
    found = model(IMAGES, training=False)
    np.testing.assert_allclose(found, EXPECTED["probabilities"], atol=1e-6)
    model.save(tmp_path / "again.keras")
    again = keras.models.load_model(tmp_path / "again.keras", compile=False, safe_mode=True)
    np.testing.assert_array_equal(again(IMAGES, training=False), found)


@pytest.mark.parametrize(
    "name", ["keras2_attention.h5", "keras2_attention.keras", "keras2_replaced.h5"]
)
def test_layers_that_keras_3_calls_or_names_otherwise(name):
    """Attention with tensors by keyword; RandomHeight, SyncBatchNormalization, ThresholdedReLU."""
    expected = np.load(CASES / "keras2_layers.npz")
    found = read_keras_model(CASES / name)(expected["images"], training=False)
    kind = name.partition(".")[0].removeprefix("keras2_")
    np.testing.assert_allclose(found, expected[kind], atol=1e-6)


@pytest.mark.parametrize("name", ["keras2_lambda.h5", "keras2_lambda.keras"])
def test_python_code_of_keras_2_runs_only_if_it_is_trusted(name):
    with pytest.raises(UserError, match=r"contains a Lambda layer.*--unsafe_load"):
        read_keras_model(CASES / name)
    if sys.version_info[:2] == (3, 11):  # Code of Python 3.11.
        expected = np.load(CASES / "keras2_layers.npz")
        with trust_model_files():
            found = read_keras_model(CASES / name)(expected["images"], training=False)
        np.testing.assert_allclose(found, expected["lambda"], atol=1e-6)


def test_a_keras_2_saved_model_with_optimizer_slots_is_read():
    with pytest.raises(AttributeError, match="add_slot"):
        tf.saved_model.load(str(CASES / "keras2"))
    network, shape = freeze_saved_model(CASES / "keras2")
    assert shape == (None, 12, 12, 3)
    assert network.has_logits
    found = tf.nn.softmax(network.layer(IMAGES))
    np.testing.assert_allclose(found, EXPECTED["probabilities"], atol=1e-6)


def test_operations_in_h5_files_of_keras_3_are_found():
    """`preprocess_input` with mode "caffe" is made of GetItem, Stack and Add."""
    model = read_keras_model(CASES / "caffe_inside.h5")
    images = np.random.default_rng(0).uniform(0, 255, (2, 32, 32, 3)).astype(np.float32)
    first = next(layer for layer in model.layers if isinstance(layer, keras.layers.Conv2D))
    converted = keras.Model(model.inputs, first.input)(images)
    expected = keras.applications.vgg16.preprocess_input(images.copy())
    np.testing.assert_allclose(converted, expected, atol=1e-4)


def edited(tmp_path, name, old, new):
    """Return a copy of a case whose configuration has other text."""
    path = tmp_path / name
    if path.suffix == ".h5":
        shutil.copyfile(CASES / name, path)
        with h5py.File(path, "r+") as file:
            config = file.attrs["model_config"]
            assert old in config
            file.attrs["model_config"] = config.replace(old, new)
        return path
    with zipfile.ZipFile(CASES / name) as source, zipfile.ZipFile(path, "w") as target:
        for entry in source.namelist():
            content = source.read(entry)
            if entry == "config.json":
                assert old.encode() in content
                content = content.replace(old.encode(), new.encode())
            target.writestr(entry, content)
    return path


@pytest.mark.parametrize("name", ["keras2.h5", "keras2.keras"])
@pytest.mark.parametrize(
    ("old", "new", "reason"),
    [
        ('"math.minimum"', '"io.write_file"', "it calls tf.io.write_file inside"),
        ('"SeparableConv2D"', '"Locally"', "its layer Locally is not part of Keras 3"),
        ('"rng_type"', '"turns"', r"\(RandomFlip\) has turns='stateful', which Keras 3"),
    ],
)
def test_what_cannot_be_translated_is_named_with_the_way_out(tmp_path, name, old, new, reason):
    if "turns" in new:  # Only layers that act in inference mode are checked.
        old, new, reason = '"rate"', '"turns"', None
    path = edited(tmp_path, name, old, new)
    if reason is None:
        read_keras_model(path)
        return
    with pytest.raises(
        UserError, match=rf"written by Keras 2\..*: .*{reason}.*model.export\(DIR\)"
    ):
        read_keras_model(path)


def test_unknown_arguments_with_an_effect_are_refused(tmp_path):
    path = edited(tmp_path, "keras2.h5", '"depth_multiplier": 1', '"twist": 3')
    with pytest.raises(UserError, match=r"has twist=3, which Keras 3 does not know\. Open it with"):
        read_keras_model(path)


def test_weights_without_a_model_are_named(tmp_path):
    read_keras_model(CASES / "keras2.h5").save_weights(tmp_path / "theirs.weights.h5")
    with pytest.raises(UserError, match="holds weights without a model"):
        read_keras_model(tmp_path / "theirs.weights.h5")


def test_mixed_precision_is_computed_in_float32(tmp_path):
    layers = [keras.layers.Flatten(), keras.layers.Dense(3, dtype="mixed_float16")]
    model = keras.Sequential([keras.Input((4, 4, 1)), *layers])
    for name in ("theirs.keras", "theirs.h5"):
        model.save(tmp_path / name)
        loaded = read_keras_model(tmp_path / name)
        assert loaded(np.zeros((1, 4, 4, 1))).dtype == tf.float32


def test_h5_files_keep_several_axes(tmp_path):
    """Keras drops `axis` from a layer of an `.h5` file if it is a list of several numbers."""
    model = keras.Sequential([keras.Input((2, 3, 4)), keras.layers.Softmax(axis=(1, 2))])
    model.save(tmp_path / "theirs.h5")
    images = np.random.default_rng(0).random((1, 2, 3, 4)).astype(np.float32)
    found = read_keras_model(tmp_path / "theirs.h5")(images)
    np.testing.assert_allclose(np.sum(found, axis=(1, 2)), np.ones((1, 4)), rtol=1e-5)


@pytest.mark.parametrize("suffix", [".h5", ".keras"])
def test_layers_that_were_adapted_inside_a_nested_model_compute_as_before(tmp_path, suffix):
    """Keras finalizes only layers at the top of an `.h5` file, and no `Discretization` twice."""
    images = np.random.default_rng(0).uniform(0, 9, (20, 2, 2, 1)).astype(np.float32)
    adapted = [keras.layers.Normalization(), keras.layers.Discretization(num_bins=4)]
    for layer, values in zip(adapted, (images, images / 9), strict=True):
        layer.adapt(values)
    backbone = keras.Sequential([keras.Input((2, 2, 1)), *adapted])
    model = keras.Sequential([keras.Input((2, 2, 1)), backbone, keras.layers.Flatten()])
    model.save(tmp_path / f"theirs{suffix}")
    found = read_keras_model(tmp_path / f"theirs{suffix}")(images)
    np.testing.assert_array_equal(found, model(images))
    assert len(np.unique(found)) > 1


def test_a_full_temporary_directory_is_not_a_damaged_h5_file(monkeypatch):
    def full_disk(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(shutil, "copyfile", full_disk)
    with pytest.raises(WorkFailedError, match=r"\(No space left on device\)\. Set TMPDIR"):
        read_keras_model(CASES / "keras2.h5")


def test_the_message_has_no_configuration(tmp_path):
    path = edited(tmp_path, "keras2.keras", '"softmax"', '"sharpmax"')
    with pytest.raises(UserError) as caught:
        read_keras_model(path)
    text = str(caught.value)
    assert "sharpmax" in text
    assert len(text) < 500
    assert json.dumps("layers") not in text
