import numpy as np
import pytest
import tensorflow as tf
import tensorflow_datasets as tfds

import tfdefense
from tfdefense.data import tfds_source
from tfdefense.errors import UserError


@pytest.fixture(scope="module")
def prepared(tmp_path_factory):
    """A dataset called "tiny" in TFDS's own format."""
    place = tmp_path_factory.mktemp("tfds")
    rng = np.random.default_rng(0)

    def split(count):
        images = rng.integers(0, 256, (count, 8, 8, 3), np.uint8)
        labels = np.arange(count) % 4
        return tf.data.Dataset.from_tensor_slices({"image": images, "label": labels})

    features = tfds.features.FeaturesDict(
        {
            "image": tfds.features.Image(shape=(8, 8, 3)),
            "label": tfds.features.ClassLabel(num_classes=4),
        }
    )
    for name, parts in (
        ("tiny", {"train": split(90), "test": split(12)}),
        ("half", {"train": split(8)}),
    ):
        tfds.dataset_builders.store_as_tfds_dataset(
            name=name, version="1.0.0", features=features, split_datasets=parts, data_dir=str(place)
        )
    return str(place)


def test_prepared_dataset_is_read_and_split(prepared):
    data = tfdefense.data.load("tiny", prepared)
    assert (len(data.train), len(data.validation), len(data.test)) == (87, 3, 12)
    assert data.num_classes == 4
    assert data.image_shape == (8, 8, 3)
    assert data.train.images.max() <= 1
    assert data.train.note == "", "PNG is lossless"


def test_dataset_without_a_test_split_is_named(prepared):
    with pytest.raises(UserError, match=r"--dataset=half: has no 'test' split \(it has train\)"):
        tfdefense.data.load("half", prepared)


def test_unprepared_dataset_without_network_is_said_at_once(prepared, monkeypatch):
    monkeypatch.setattr(tfds_source, "_reachable", lambda: False)
    with pytest.raises(UserError, match=r"--dataset=mnist: not prepared in .*--dataset=digits"):
        tfdefense.data.load("mnist", prepared)


def test_unknown_dataset_offers_the_nearest(prepared):
    with pytest.raises(UserError, match=r"unknown dataset 'minst'. Did you mean 'mnist'"):
        tfdefense.data.load("minst", prepared)


def test_missing_data_dir_is_named(tmp_path):
    with pytest.raises(UserError, match=r"--data_dir=.*nowhere: no such directory"):
        tfdefense.data.load("mnist", str(tmp_path / "nowhere"))


def test_mnist_of_the_shared_directory(shared_data):
    builder = tfds_source._prepared_builder("mnist", shared_data)
    test = tfds_source._read(builder, "mnist", "test")
    assert test.images.shape == (10_000, 28, 28, 1)
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
    assert test.note == ""


def test_jpeg_copies_say_so(shared_data):
    builder = tfds_source._prepared_builder("cifar10", shared_data)
    assert "JPEG" in tfds_source._encoding_note(builder, "test")
