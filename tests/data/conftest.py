"""Datasets in the format of TFDS."""

import numpy as np
import pytest
import tensorflow as tf
import tensorflow_datasets as tfds


@pytest.fixture(scope="package")
def prepared(tmp_path_factory):
    """Folder of datasets in the format of TFDS: "tiny", "half", "three", "unlabelled" and "mixed"."""
    place = tmp_path_factory.mktemp("tfds")
    rng = np.random.default_rng(0)

    def split(count, *, labelled=True):
        images = rng.integers(0, 256, (count, 8, 8, 3), np.uint8)
        labels = np.arange(count) % 4 if labelled else np.full(count, -1)
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
    ):
        tfds.dataset_builders.store_as_tfds_dataset(
            name=name, version="1.0.0", features=features, split_datasets=parts, data_dir=str(place)
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
