"""Sizes of prepared TFDS datasets from their JSON files, compared with those of loaded images."""

import json
from pathlib import Path

import pytest

import tfdefense
from tfdefense.data.core.tfds_metadata import DatasetSize, read_prepared_size


def write_metadata(directory, sides=("8", "8", "1"), **counts):
    """Write the JSON files of a prepared dataset that has no images."""
    directory.mkdir(parents=True)
    image = {"image": {"dtype": "uint8", "shape": {"dimensions": list(sides)}}}
    features = {"featuresDict": {"features": {"image": image, "label": {}}}}
    (directory / "features.json").write_text(json.dumps(features))
    splits = [{"name": name, "shardLengths": [str(count)]} for name, count in counts.items()]
    (directory / "dataset_info.json").write_text(json.dumps({"splits": splits}))


@pytest.mark.parametrize("name", ["tiny", "three"])
def test_the_size_is_that_of_the_loaded_images(name, prepared):
    data = tfdefense.data.load(name, prepared)
    assert read_prepared_size(name, prepared) == DatasetSize(data.image_shape, len(data.train))


def test_the_validation_split_of_a_large_dataset_has_2000_images(tmp_path):
    write_metadata(tmp_path / "large" / "1.0.0", train=90_000, test=10)
    assert read_prepared_size("large", str(tmp_path)) == DatasetSize((8, 8, 1), 88_000)


@pytest.mark.parametrize("name", ["half", "mixed", "absent"])
def test_what_the_metadata_do_not_tell_is_unknown(name, prepared):
    assert read_prepared_size(name, prepared) is None


def test_two_versions_and_damaged_files_are_unknown(tmp_path):
    write_metadata(tmp_path / "two" / "1.0.0", train=30, test=10)
    assert read_prepared_size("two", str(tmp_path)) is not None
    write_metadata(tmp_path / "two" / "1.0.1", train=60, test=10)
    assert read_prepared_size("two", str(tmp_path)) is None
    write_metadata(tmp_path / "cut" / "1.0.0", train=30, test=10)
    path = Path(tmp_path / "cut" / "1.0.0" / "dataset_info.json")
    path.write_text(path.read_text()[:20])
    assert read_prepared_size("cut", str(tmp_path)) is None
