"""Files of a newer Keras are read if what it added has no effect on the model."""

import json
import zipfile

import keras
import numpy as np
import pytest

from tests.conftest import make_toy_model
from tfdefense.classifiers.custom.keras_file import read_keras_model
from tfdefense.errors import UserError
from tfdefense.training.keras_archive import METADATA_FILE, copy_with_config, read_archive_config
from tfdefense.training.loaded_model import load_stored_model


def written_by_newer_keras(path, changes):
    """Save the toy model as a Keras of the future would, with more arguments of its convolution."""
    model = make_toy_model()
    model.save(path / "now.keras")
    config, _ = read_archive_config(path / "now.keras")
    convolution = config["config"]["layers"][1]["config"]
    convolution["kernel_initializer"]["config"]["axes"] = [0, 1]
    convolution.update(changes)
    copy_with_config(path / "now.keras", path / "config.keras", config)
    with zipfile.ZipFile(path / "config.keras") as source:
        parts = {name: source.read(name) for name in source.namelist()}
    metadata = {**json.loads(parts[METADATA_FILE]), "keras_version": "99.1.0"}
    newer = path / "newer.keras"
    with zipfile.ZipFile(newer, "w") as target:
        for name, content in {**parts, METADATA_FILE: json.dumps(metadata)}.items():
            target.writestr(name, content)
    return newer, model


@pytest.mark.parametrize("read", [read_keras_model, load_stored_model])
def test_arguments_without_effect_are_dropped(read, tmp_path, toy_images):
    path, model = written_by_newer_keras(tmp_path, {"compression": None, "is_sparse": False})
    before = path.read_bytes()
    np.testing.assert_array_equal(read(path)(toy_images), model(toy_images))
    assert path.read_bytes() == before


def test_an_argument_with_an_effect_is_refused_and_both_versions_are_named(tmp_path):
    path, _ = written_by_newer_keras(tmp_path, {"compression": 8})
    with pytest.raises(UserError) as error:
        read_keras_model(path)
    assert f"written by Keras 99.1.0, which is newer than Keras {keras.__version__}" in str(
        error.value
    )
    assert "compression" in str(error.value)
    assert len(str(error.value)) < 600


def test_unknown_arguments_in_a_file_of_this_version_are_refused(tmp_path):
    written_by_newer_keras(tmp_path, {})
    with pytest.raises(UserError, match="axes"):
        read_keras_model(tmp_path / "config.keras")
