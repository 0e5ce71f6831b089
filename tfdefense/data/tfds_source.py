"""Any image-classification dataset of TensorFlow Datasets, by its name there."""

import contextlib
import os
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from tfdefense.data.core import splitting
from tfdefense.data.core.dataset import DataOptions, Dataset, Split
from tfdefense.data.core.decoded_images import collected
from tfdefense.data.registry import SOURCES
from tfdefense.errors import UserError, WorkFailedError, require, unknown_name

_SPLIT_SEED = 0
_MAX_VALIDATION_IMAGES = 2_000
_BATCH = 500
_DOWNLOAD_HOST = ("storage.googleapis.com", 443)


def load(name: str, options: DataOptions) -> Dataset:
    """Loads the TFDS dataset `name`: its `train` split, and its `test` or else its `validation` split.

    A part of `train` (a thirtieth, at most 2,000 images, drawn by a fixed seed) becomes the validation
    split. Where there is nothing but `train`, `options.split_seed` draws 80, 10 and 10 % of each class.

    Args:
      name: a TFDS name, such as "mnist", "cifar10" or "cmaterdb/bangla".
      options: `image_size` is needed where images differ in size.

    Raises:
      UserError: unknown name; not prepared and no network to download it from; not an image classification dataset.
    """
    builder = _prepared_builder(name, options.data_dir)
    features, splits = builder.info.features, builder.info.splits
    for needed, where, what in (
        ("image", features, "feature"),
        ("label", features, "feature"),
        ("train", splits, "split"),
    ):
        require(
            needed in where,
            f"--dataset={name}: has no {needed!r} {what} (it has {', '.join(where)}).",
        )
    require(
        hasattr(features["label"], "num_classes"),
        f"--dataset={name}: its labels are no class numbers.",
    )
    class_names = tuple(features["label"].names)
    train = _read(builder, name, "train", options)
    test_name = next((split for split in ("test", "validation") if split in splits), None)
    if test_name is None:
        keys = [str(index) for index in range(len(train))]
        shuffled = splitting.order(keys, options.split_seed)
        indices = splitting.three_ways(train.labels, shuffled, name, class_names)
        train, validation, test = (train.select(chosen) for chosen in indices)
    else:
        test = _read(builder, name, test_name, options)
        order = np.random.default_rng(_SPLIT_SEED).permutation(len(train))
        held_out = min(_MAX_VALIDATION_IMAGES, max(1, len(train) // 30))
        validation = train.select(np.sort(order[:held_out]))
        train = train.select(np.sort(order[held_out:]))
    return Dataset(
        name=_directory_name(name),
        train=train,
        validation=validation,
        test=test,
        class_names=class_names,
        source=name,
        options=options.settings(),
        data_dir=options.data_dir and str(Path(options.data_dir).resolve()),
    )


def _prepared_builder(name: str, data_dir: str | None) -> Any:
    """A TFDS builder whose files are on disk, downloaded first if that is possible."""
    data_dir = data_dir or os.environ.get("TFDS_DATA_DIR")
    if data_dir is not None and not Path(data_dir).is_dir():
        raise UserError(f"--data_dir={data_dir}: no such directory.")
    import tensorflow_datasets as tfds

    try:
        builder = tfds.builder(name, data_dir=data_dir)
    except (tfds.core.DatasetNotFoundError, ValueError):
        raise unknown_name("dataset", name, [*SOURCES.names(), *tfds.list_builders()]) from None
    if builder.is_prepared():
        return builder
    # TFDS retries a download for minutes where there is no network: look before asking it.
    if not _reachable():
        place = data_dir or "TFDS's default directory"
        raise UserError(
            f"--dataset={name}: not prepared in {place} and there is no network to download it."
            f" Pass the directory that holds a prepared {name!r} as --data_dir (or TFDS_DATA_DIR), or"
            " use --dataset=digits, which needs neither."
        )
    builder.download_and_prepare()
    return builder


def _reachable() -> bool:
    with contextlib.suppress(OSError):
        socket.create_connection(_DOWNLOAD_HOST, timeout=3).close()
        return True
    return False


def _read(builder: Any, name: str, split: str, options: DataOptions) -> Split:
    """A split, a batch at a time: what is decoded never lies in memory as a whole, if it is large."""
    import tensorflow_datasets as tfds

    feature, label = builder.info.features["image"], builder.info.features["label"]
    height, width, channels = feature.shape
    size = options.image_size or (height, width)
    require(
        None not in (*size, channels),
        f"--dataset={name}: images of different sizes. Give one for all: --image_size=32, or"
        " HEIGHTxWIDTH.",
    )
    require(
        np.dtype(feature.np_dtype) == np.uint8,
        f"--dataset={name}: images of {np.dtype(feature.np_dtype)}, uint8 needed.",
    )

    def ready(image: tf.Tensor, number: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        if (height, width) != size:
            resized = tf.image.resize(image, size, antialias=True)
            image = tf.cast(tf.clip_by_value(tf.round(resized), 0, 255), tf.uint8)
        return image, number

    labels: list[np.ndarray] = []

    def batches() -> Iterator[np.ndarray]:
        read = builder.as_dataset(split=split, as_supervised=False, shuffle_files=False)
        pairs = read.map(lambda example: ready(example["image"], example["label"]))
        for images, numbers in tfds.as_numpy(pairs.batch(_BATCH)):
            labels.append(numbers)
            yield images

    count = builder.info.splits[split].num_examples
    try:
        images = collected(batches(), count, (*size, channels), f"{name} {split}")
    except WorkFailedError:
        raise
    except Exception as error:  # TFDS raises a different type for every kind of damage.
        reason = str(error).splitlines()[0]
        raise UserError(f"--dataset={name}: its {split} split cannot be read: {reason}") from error
    return Split(
        images=images,
        labels=np.concatenate(labels).astype(np.int32),
        num_classes=label.num_classes,
        dataset=_directory_name(name),
        note=_encoding_note(builder, split),
    )


def _directory_name(name: str) -> str:
    """A TFDS name may have a configuration and a version: "name/config:1.0.0"."""
    return name.replace("/", "-").replace(":", "-")


def _encoding_note(builder: Any, split: str) -> str:
    """Says so where the images on disk are JPEG: their figures are not those of a lossless copy."""
    import tensorflow_datasets as tfds

    decoders = {"image": tfds.decode.SkipDecoding()}
    encoded = next(iter(builder.as_dataset(split=split, decoders=decoders).take(1)))["image"]
    if encoded.numpy().startswith(b"\xff\xd8"):
        return f"{builder.name} is read from a JPEG-encoded copy: its figures may differ from a lossless one's."
    return ""
