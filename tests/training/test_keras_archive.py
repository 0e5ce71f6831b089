"""Files of a newer Keras are read if what it added has no effect on the model."""

import errno
import json
import os
import shutil
import tempfile
import zipfile

import keras
import numpy as np
import pytest

from tests.conftest import make_toy_model
from tfdefense.classifiers.custom.keras_file import read_keras_model
from tfdefense.errors import UserError, WorkFailedError
from tfdefense.training.keras_archive import METADATA_FILE, copy_with_config, read_archive_config
from tfdefense.training.loaded_model import load_stored_model
from tfdefense.training.run_directory import RunDirectory
from tfdefense.utils.trust import trust_model_files


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


def full_disk(*_):
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def load_from_run(path):
    shutil.copyfile(path, path.with_name("classifier.keras"))
    with trust_model_files():  # Without a trial.
        return RunDirectory(path.parent).load_classifier()


@pytest.mark.parametrize("read", [read_keras_model, load_stored_model, load_from_run])
def test_a_full_temporary_directory_is_not_a_damaged_model(read, tmp_path, monkeypatch):
    path, _ = written_by_newer_keras(tmp_path, {})
    with monkeypatch.context() as patched:
        patched.setattr(shutil, "copyfileobj", full_disk)
        with pytest.raises(
            WorkFailedError,
            match=rf"^{tempfile.gettempdir()}: a copy of .*\.keras cannot be written \(No space left"
            r" on device\)\. Set TMPDIR",
        ):
            read(path)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "gone"))
    with pytest.raises(WorkFailedError, match=r"/gone: a copy of .* \(No such file or directory\)"):
        read(path)


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
