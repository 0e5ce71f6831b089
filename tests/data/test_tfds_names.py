"""Names of TFDS datasets that are read from files."""

import pytest

from tfdefense.data.core import tfds_names
from tfdefense.errors import UserError


@pytest.mark.slow
def test_the_names_are_those_of_tfds():
    import tensorflow_datasets as tfds

    assert sorted(tfds_names.tfds_names()) == sorted(tfds.list_builders())


@pytest.mark.parametrize(
    "name",
    [
        "mnist",  # A folder of its own.
        "fashion_mnist",  # A class of a module.
        "conll2003",  # Its class has an attribute `name`.
        "FashionMNIST",
        "cmaterdb/bangla",
        "huggingface:no_such",  # Only TFDS knows what is in a namespace.
    ],
)
def test_a_dataset_of_tfds_is_accepted(name, tmp_path):
    tfds_names.require_tfds_name(name, str(tmp_path))


def test_a_prepared_dataset_need_not_be_in_tfds(tmp_path, monkeypatch):
    with pytest.raises(UserError, match="unknown dataset 'own_images/small'"):
        tfds_names.require_tfds_name("own_images/small", str(tmp_path))
    (tmp_path / "own_images").mkdir()
    tfds_names.require_tfds_name("own_images/small", str(tmp_path))
    monkeypatch.delenv("TFDS_DATA_DIR", raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "tensorflow_datasets" / "home_images").mkdir(parents=True)
    tfds_names.require_tfds_name("home_images")
    monkeypatch.setenv("TFDS_DATA_DIR", str(tmp_path))
    tfds_names.require_tfds_name("own_images")


@pytest.mark.parametrize("name", ["./photos", "photos/"])
def test_a_path_is_refused_with_its_prefix(name, tmp_path, monkeypatch):
    (tmp_path / "photos").mkdir()
    (tmp_path / "prepared").mkdir()
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError, match=f"is a folder.*--dataset=dir:{name}"):
        tfds_names.require_tfds_name(name, "prepared")


def test_an_unknown_name_is_refused_with_the_nearest_one(tmp_path):
    with pytest.raises(UserError, match=r"unknown dataset 'mnistt'\. Did you mean 'mnist'"):
        tfds_names.require_tfds_name("mnistt", str(tmp_path))
    with pytest.raises(UserError, match="nowhere: no such directory"):
        tfds_names.require_tfds_name("mnist", str(tmp_path / "nowhere"))


def test_without_the_files_of_tfds_no_name_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(tfds_names, "find_package_folder", lambda name: None)
    tfds_names.tfds_names.cache_clear()
    try:
        tfds_names.require_tfds_name("mnistt", str(tmp_path))
    finally:
        tfds_names.tfds_names.cache_clear()
