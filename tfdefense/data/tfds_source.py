"""Any image-classification dataset of TensorFlow Datasets, by its name there."""

import contextlib
import os
import socket
from pathlib import Path
from typing import Any

import numpy as np

from tfdefense.data.dataset import Dataset, Split
from tfdefense.errors import UserError, require, unknown_name

_SPLIT_SEED = 0
_MAX_VALIDATION_IMAGES = 2_000
_DOWNLOAD_HOST = ("storage.googleapis.com", 443)


def load(name: str, data_dir: str | None = None) -> Dataset:
    """Loads the `train` and `test` splits of the TFDS dataset `name`.

    A part of `train` (a thirtieth, at most 2,000 images, drawn by a fixed seed) becomes the validation split.

    Args:
      name: a TFDS name, such as "mnist" or "cifar10".
      data_dir: where prepared datasets lie; None means `TFDS_DATA_DIR`, else TFDS's own default.

    Raises:
      UserError: unknown name; not prepared and no network to download it from; not an image classification dataset.
    """
    builder = _prepared_builder(name, data_dir)
    features, splits = builder.info.features, builder.info.splits
    for needed, where, what in (
        ("image", features, "feature"),
        ("label", features, "feature"),
        ("train", splits, "split"),
        ("test", splits, "split"),
    ):
        require(
            needed in where,
            f"--dataset={name}: has no {needed!r} {what} (it has {', '.join(where)}).",
        )
    train, test = (_read(builder, name, split) for split in ("train", "test"))
    order = np.random.default_rng(_SPLIT_SEED).permutation(len(train))
    held_out = min(_MAX_VALIDATION_IMAGES, len(train) // 30)
    return Dataset(
        name=name,
        train=train.select(np.sort(order[held_out:])),
        validation=train.select(np.sort(order[:held_out])),
        test=test,
        class_names=tuple(features["label"].names),
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
        raise unknown_name("dataset", name, ["digits", *tfds.list_builders()]) from None
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


def _read(builder: Any, name: str, split: str) -> Split:
    import tensorflow_datasets as tfds

    label = builder.info.features["label"]
    try:
        arrays = tfds.as_numpy(builder.as_dataset(split=split, batch_size=-1))
    except Exception as error:  # TFDS raises a different type for every kind of damage.
        reason = str(error).splitlines()[0]
        raise UserError(f"--dataset={name}: its {split} split cannot be read: {reason}") from error
    return Split(
        images=np.divide(arrays["image"], 255, dtype=np.float32),
        labels=arrays["label"].astype(np.int32),
        num_classes=label.num_classes,
        dataset=name,
        note=_encoding_note(builder, split),
    )


def _encoding_note(builder: Any, split: str) -> str:
    """Says so where the images on disk are JPEG: their figures are not those of a lossless copy."""
    import tensorflow_datasets as tfds

    decoders = {"image": tfds.decode.SkipDecoding()}
    encoded = next(iter(builder.as_dataset(split=split, decoders=decoders).take(1)))["image"]
    if encoded.numpy().startswith(b"\xff\xd8"):
        return f"{builder.name} is read from a JPEG-encoded copy: its figures may differ from a lossless one's."
    return ""
