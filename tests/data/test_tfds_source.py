from pathlib import Path

import numpy as np
import pytest
import tensorflow_datasets as tfds

import tfdefense
from tfdefense.data import DataOptions, tfds_source
from tfdefense.data.core import disk_array
from tfdefense.data.core.decoded_images import decode_images
from tfdefense.data.core.fingerprint import data_fingerprint
from tfdefense.data.core.tfds_images import TFDSImages
from tfdefense.errors import UserError, WorkFailedError
from tfdefense.utils import progress


def test_a_prepared_dataset_is_read_and_split(prepared):
    data = tfdefense.data.load("tiny", prepared)
    assert (len(data.train), len(data.validation), len(data.test)) == (87, 3, 12)
    assert data.num_classes == 4
    assert data.image_shape == (8, 8, 3)
    assert data.train.images.max() <= 1
    assert data.train.note == "", "PNG is lossless"


def test_validation_images_are_always_the_same_and_no_training_images(prepared):
    source = TFDSImages(tfds_source.prepare_builder("tiny", prepared), "tiny", "train")
    images = decode_images(source).select()
    data = tfdefense.data.load("tiny", prepared)
    np.testing.assert_array_equal(data.validation.images, images[[13, 20, 27]])
    np.testing.assert_array_equal(data.train.images, np.delete(images, [13, 20, 27], axis=0))


@pytest.mark.slow
def test_a_validation_split_is_used(prepared):
    data = tfdefense.data.load("three", prepared)
    assert (len(data.train), len(data.validation), len(data.test)) == (24, 8, 12)


def test_validation_images_are_the_test_images_if_those_have_no_labels(prepared, capsys):
    data = tfdefense.data.load("unlabelled", prepared)
    assert (len(data.train), len(data.validation), len(data.test)) == (87, 3, 8)
    assert "its test images have no labels; those of validation are used" in capsys.readouterr().out


def test_a_seed_draws_the_splits_if_there_is_only_train(prepared):
    data = tfdefense.data.load("half", prepared, split_seed=1)
    assert (len(data.train), len(data.validation), len(data.test)) == (16, 4, 4)
    assert np.bincount(data.test.labels).tolist() == [1, 1, 1, 1]
    again = tfdefense.data.load("half", prepared, split_seed=1)
    np.testing.assert_array_equal(data.test.images, again.test.images)
    other = tfdefense.data.load("half", prepared, split_seed=2)
    assert not np.array_equal(data.test.images, other.test.images)
    assert data.settings() == {"dataset": "half", "split_seed": 1}


@pytest.mark.parametrize(
    ("name", "sizes", "parts"),
    [
        ("sorted", (87, 3, 90), "train and test"),
        ("sorted_test", (24, 24, 24), "test and validation"),
    ],
)
def test_splits_that_are_sorted_by_class_are_shuffled(prepared, capsys, name, sizes, parts):
    """Attacks and validations take the first images, which would be of one class."""
    data = tfdefense.data.load(name, prepared)
    splits = data.train, data.validation, data.test
    assert tuple(map(len, splits)) == sizes
    for split in splits:
        np.testing.assert_array_equal(np.round(255 * split.images[:, 0, 0, 0]), split.labels)
        assert len(set(split.labels[:20])) > 1
    assert len(np.unique(np.concatenate([each.images for each in splits]), axis=0)) == sum(sizes)
    assert (
        f"--dataset={name}: its {parts} images are sorted by class. They are used in a random"
        in (capsys.readouterr().out)
    )
    again = tfdefense.data.load(name, prepared)
    assert data_fingerprint(again.test) == data_fingerprint(data.test)
    is_own_order = np.array_equal(data.train.labels, np.arange(24) % 4)
    assert is_own_order == (name == "sorted_test")


def test_images_of_different_sizes_need_image_size(prepared):
    with pytest.raises(
        UserError, match=r"--dataset=mixed: images of different sizes.*--image_size"
    ):
        tfdefense.data.load("mixed", prepared)
    data = tfdefense.data.load("mixed", prepared, image_size=(6, 10))
    assert data.image_shape == (6, 10, 1)
    np.testing.assert_allclose(data.train.images[0], 50 / 255, atol=1e-6)


@pytest.mark.slow
def test_images_on_disk_equal_images_in_memory(prepared, monkeypatch):
    in_memory = tfdefense.data.load("tiny", prepared)
    monkeypatch.setattr(disk_array, "MEMORY_LIMIT", 0)
    on_disk = tfdefense.data.load("tiny", prepared)
    assert isinstance(on_disk.train.images, disk_array.DiskArray)
    for part in ("train", "validation", "test"):
        here, there = getattr(in_memory, part), getattr(on_disk, part)
        np.testing.assert_array_equal(here.images, np.asarray(there.images))
        np.testing.assert_array_equal(here.labels, there.labels)
        assert data_fingerprint(here) == data_fingerprint(there)


def test_an_unprepared_dataset_without_network_is_an_error_at_once(prepared, monkeypatch):
    monkeypatch.setattr(tfds_source, "_has_network", lambda: False)
    with pytest.raises(UserError, match=r"--dataset=mnist: not prepared in .*--dataset=digits"):
        tfdefense.data.load("mnist", prepared)


def test_a_dataset_that_may_not_be_downloaded_is_only_read_from_disk(prepared, monkeypatch):
    monkeypatch.setattr(tfds_source, "_has_network", lambda: pytest.fail("the network is asked"))
    options = DataOptions(prepared, download=False)
    with pytest.raises(UserError, match=r"--dataset=mnist: not prepared in .*as --data_dir"):
        tfdefense.data.load_with_options("mnist", options)
    assert tfdefense.data.load_with_options("tiny", options).name == "tiny"


def test_an_unknown_dataset_suggests_a_similar_one(prepared):
    with pytest.raises(UserError, match=r"unknown dataset 'minst'. Did you mean 'mnist'"):
        tfdefense.data.load("minst", prepared)


def test_a_folder_or_file_without_its_prefix_is_named(prepared, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "Straßen schilder").mkdir()
    (tmp_path / "list.csv").touch()
    with pytest.raises(UserError, match=r"is a folder, .* --dataset='dir:Straßen schilder'"):
        tfdefense.data.load("Straßen schilder", prepared)
    with pytest.raises(UserError, match=r"is a file, .* --dataset=csv:list.csv"):
        tfdefense.data.load("list.csv", prepared)


def test_the_error_names_a_missing_data_dir(tmp_path):
    with pytest.raises(UserError, match=r"--data_dir=.*nowhere: no such directory"):
        tfdefense.data.load("mnist", str(tmp_path / "nowhere"))


def test_the_real_mnist_is_read(shared_data):
    source = TFDSImages(tfds_source.prepare_builder("mnist", shared_data), "mnist", "test")
    test = decode_images(source)
    assert test.select().shape == (10_000, 28, 28, 1)
    assert np.bincount(test.labels).tolist() == [
        980,
        1135,
        1032,
        1010,
        982,
        892,
        958,
        1028,
        974,
        1009,
    ]
    assert source.encoding_note() == ""


def test_jpeg_copies_have_a_note(shared_data):
    if not (Path(shared_data) / "cifar10").is_dir():
        pytest.skip(f"no prepared cifar10 in {shared_data}")
    builder = tfds_source.prepare_builder("cifar10", shared_data)
    assert "JPEG" in TFDSImages(builder, "cifar10", "test").encoding_note()


@pytest.mark.parametrize("name", ["mnist:9.9.9", "mnist/other=1"])
def test_a_version_or_setting_that_does_not_exist_is_an_error(prepared, name):
    with pytest.raises(UserError, match=rf"^--dataset={name}: |unknown dataset"):
        tfdefense.data.load(name, prepared)


@pytest.mark.parametrize(
    ("raised", "expected"),
    [
        (AssertionError("Manual directory x does not exist."), UserError),
        (RuntimeError("Failed to get url"), WorkFailedError),
        (OSError(28, "No space left on device"), OSError),
    ],
)
def test_a_failed_download_is_one_line(prepared, monkeypatch, raised, expected):
    monkeypatch.setattr(tfds_source, "_has_network", lambda: True)

    def fail(_):
        raise raised

    monkeypatch.setattr(tfds.core.DatasetBuilder, "download_and_prepare", fail)
    with pytest.raises(expected, match=str(raised.args[-1])):
        tfdefense.data.load("mnist", prepared)


def test_a_proxy_counts_as_a_network(monkeypatch):
    monkeypatch.setattr(tfds_source, "_DOWNLOAD_HOST", ("localhost", 1))
    monkeypatch.delenv("https_proxy", raising=False)
    monkeypatch.delenv("HTTPS_PROXY", raising=False)
    assert not tfds_source._has_network()
    monkeypatch.setenv("https_proxy", "http://localhost:1")
    assert tfds_source._has_network()


@pytest.mark.parametrize("name", ["tiny", "three"])
def test_a_seed_without_splits_to_draw_is_told(prepared, name, capsys, monkeypatch):
    monkeypatch.setattr(progress, "_printed", set())
    seeded = tfdefense.data.load(name, prepared, split_seed=3)
    assert f"--split_seed=3: changes nothing, because {name} has" in capsys.readouterr().out
    first = tfdefense.data.load(name, prepared)
    np.testing.assert_array_equal(seeded.validation.labels, first.validation.labels)
