"""Datasets in the format of TFDS."""

import numpy as np
import pytest
import tensorflow as tf
import tensorflow_datasets as tfds


@pytest.fixture(scope="package")
def prepared(tmp_path_factory):
    """Folder of datasets in the format of TFDS: "tiny", "half", "three", "sorted" and so on."""
    place = tmp_path_factory.mktemp("tfds")
    rng = np.random.default_rng(0)

    def split(count, *, labelled=True, by_class=False):
        images = rng.integers(0, 256, (count, 8, 8, 3), np.uint8)
        labels = np.arange(count) % 4 if labelled else np.full(count, -1)
        labels = np.sort(labels) if by_class else labels
        images[:, 0, 0, 0] = labels  # So that tests can tell whether images keep their labels.
        return tf.data.Dataset.from_tensor_slices({"image": images, "label": labels})

    features = tfds.features.FeaturesDict(
        {
            "image": tfds.features.Image(shape=(8, 8, 3)),
            "label": tfds.features.ClassLabel(num_classes=4),
        }
    )
    for name, parts in (
        ("tiny", {"train": split(90), "test": split(12)}),
        ("half", {"train": split(24)}),
        ("three", {"train": split(24), "validation": split(8), "test": split(12)}),
        (
            "unlabelled",
            {"train": split(90), "validation": split(8), "test": split(12, labelled=False)},
        ),
        ("sorted", {part: split(90, by_class=True) for part in ("train", "test")}),
        (
            "sorted_test",
            {
                "train": split(24),
                "validation": split(24, by_class=True),
                "test": split(24, by_class=True),
            },
        ),
    ):
        tfds.dataset_builders.store_as_tfds_dataset(
            name=name,
            version="1.0.0",
            features=features,
            split_datasets=parts,
            data_dir=str(place),
            disable_shuffling=name.startswith("sorted"),
        )
    mixed = [
        {"image": np.full((size, size, 1), 50, np.uint8), "label": size % 2} for size in (8, 9, 11)
    ]
    shape = {
        "image": tf.TensorSpec((None, None, 1), tf.uint8),
        "label": tf.TensorSpec((), tf.int64),
    }
    many_sizes = tf.data.Dataset.from_generator(lambda: iter(mixed), output_signature=shape)
    tfds.dataset_builders.store_as_tfds_dataset(
        name="mixed",
        version="1.0.0",
        features=tfds.features.FeaturesDict(
            {
                "image": tfds.features.Image(shape=(None, None, 1)),
                "label": tfds.features.ClassLabel(num_classes=2),
            }
        ),
        split_datasets={"train": many_sizes, "test": many_sizes},
        data_dir=str(place),
    )
    return str(place)
