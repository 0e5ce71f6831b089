"""Directories that `--classifier` takes: SavedModels and runs, which both may have a config.json."""

import re

import keras
import pytest
import tensorflow as tf

from tests.conftest import make_toy_model
from tfdefense.classifiers.resolve import choose
from tfdefense.errors import UserError


def test_a_saved_model_with_a_config_is_no_run(tmp_path):
    tf.saved_model.save(tf.Module(), tmp_path / "theirs")
    (tmp_path / "theirs" / "config.json").write_text('{"version": 3}')
    found = choose(str(tmp_path / "theirs"))
    assert found.path == tmp_path / "theirs"
    assert found.settings["classifier"] == "theirs"


def test_a_keras_model_as_a_folder_is_named_with_the_way_out(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    keras.saving.save_model(make_toy_model(), "theirs", zipped=False)
    with pytest.raises(
        UserError, match=r"theirs: a Keras model as a folder; one file is "
    ) as caught:
        choose("theirs")
    eval(re.search(r"Make it with: (.+)", str(caught.value))[1], {"keras": keras})
    assert choose("model.keras").name == "model"


def test_a_saved_model_that_tensorflow_cannot_open_is_refused(tmp_path):
    tf.saved_model.save(tf.Module(), tmp_path / "theirs")
    (tmp_path / "theirs").rename(tmp_path / "\udcfc")
    with pytest.raises(
        UserError, match=r"--classifier=.*: not UTF-8, and TensorFlow opens no other"
    ):
        choose(str(tmp_path / "\udcfc"))


def test_another_folder_with_a_config_is_taken_for_a_run(tmp_path):
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(
        UserError, match=r"config\.json: schema is null; 1 is needed, which tfdefense"
    ):
        choose(str(tmp_path))
