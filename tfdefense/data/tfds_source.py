"""Image-classification datasets of TensorFlow Datasets (TFDS), by their names there."""

import contextlib
import os
import shlex
import socket
from pathlib import Path
from typing import Any

import numpy as np

from tfdefense.data.core import splitting
from tfdefense.data.core.dataset import DataOptions, Dataset, Split
from tfdefense.data.core.decoded_images import DecodedImages, decode_images
from tfdefense.data.core.tfds_images import TFDSImages
from tfdefense.data.registry import SOURCES
from tfdefense.errors import UserError, require, unknown_name

_SPLIT_SEED = 0
_MAX_VALIDATION_IMAGES = 2_000
_DOWNLOAD_HOST = ("storage.googleapis.com", 443)


def load_tfds(name: str, options: DataOptions) -> Dataset:
    """Load a TFDS dataset with its own splits `train`, `validation` and `test`.

    Without `test`, its `validation` split is the test split. Without a further split for validation,
    a thirtieth of `train`, at most 2,000 images, drawn with a fixed seed, is the validation split. If
    there is no split except `train`, `options.split_seed` draws 80, 10 and 10 % of each class.
    Prepared datasets in `options.data_dir` need not be in the catalogue of TFDS.

    Args:
      name: a TFDS name, such as "mnist", "cifar10" or "cmaterdb/bangla".
      options: `image_size` is needed if the images differ in size.

    Raises:
      UserError: an unknown name, a dataset that is not prepared and may not be downloaded or has no
        network for it, or one that is not for image classification.
    """
    builder = prepare_builder(name, options.data_dir, download=options.download)
    _require_classification(builder, name)
    class_names = tuple(builder.info.features["label"].names)
    splits = builder.info.splits
    source = TFDSImages(builder, name, "train", options.image_size)
    images, note = decode_images(source), source.encoding_note()
    count = len(images.labels)
    test_name = next((split for split in ("test", "validation") if split in splits), None)

    def load_split(split: str) -> Split:
        source = TFDSImages(builder, name, split, options.image_size)
        decoded, note = decode_images(source), source.encoding_note()
        return _make_split(source, note, decoded, np.arange(source.shape[0]))

    if test_name is None:
        shuffled = splitting.order_by_hash([str(i) for i in range(count)], options.split_seed)
        three = splitting.split_three_ways(images.labels, shuffled, name, class_names)
        train, validation, test = (_make_split(source, note, images, rows) for rows in three)
    elif test_name == "test" and "validation" in splits:
        train = _make_split(source, note, images, np.arange(count))
        validation, test = load_split("validation"), load_split("test")
    else:
        test = load_split(test_name)
        order = np.random.default_rng(_SPLIT_SEED).permutation(count)
        held_out = min(_MAX_VALIDATION_IMAGES, max(1, count // 30))
        validation = _make_split(source, note, images, np.sort(order[:held_out]))
        train = _make_split(source, note, images, np.sort(order[held_out:]))
    return Dataset(
        name=_make_directory_name(name),
        train=train,
        validation=validation,
        test=test,
        class_names=class_names,
        source=name,
        options=options.settings(),
        data_dir=options.data_dir and str(Path(options.data_dir).resolve()),
    )


def prepare_builder(name: str, data_dir: str | None, *, download: bool = True) -> Any:
    """Return a TFDS builder whose files are on disk; download them first if there is a network.

    Args:
      name: a TFDS name.
      data_dir, download: see `DataOptions`.

    Raises:
      UserError: no such directory, an unknown name, not on disk without `download`, or no network.
    """
    data_dir = data_dir or os.environ.get("TFDS_DATA_DIR")
    if data_dir is not None and not Path(data_dir).is_dir():
        raise UserError(f"--data_dir={data_dir}: no such directory.")
    import tensorflow_datasets as tfds

    try:
        builder = tfds.builder(name, data_dir=data_dir)
    except (tfds.core.DatasetNotFoundError, ValueError):
        _require_no_path(name)
        raise unknown_name("dataset", name, [*SOURCES.names(), *tfds.list_builders()]) from None
    if builder.is_prepared():
        return builder
    place = f"--dataset={name}: not prepared in {data_dir or 'the default directory of TFDS'}"
    give = f"Give the directory that holds a prepared {name!r} as --data_dir (or TFDS_DATA_DIR)"
    require(download, f"{place}. {give}.")
    # Without a network, TFDS would retry the download for minutes.
    require(
        _has_network(),
        f"{place}, and there is no network to download it. {give}, or use --dataset=digits, which"
        " needs neither.",
    )
    builder.download_and_prepare()
    return builder


def _has_network() -> bool:
    with contextlib.suppress(OSError):
        socket.create_connection(_DOWNLOAD_HOST, timeout=3).close()
        return True
    return False


def _require_classification(builder: Any, name: str) -> None:
    """Raise `UserError` unless the dataset has images, class labels and a `train` split."""
    features, splits = builder.info.features, builder.info.splits
    for needed, present, kind in (
        ("image", features, "feature"),
        ("label", features, "feature"),
        ("train", splits, "split"),
    ):
        require(
            needed in present,
            f"--dataset={name}: has no {needed!r} {kind} (it has {', '.join(present)}).",
        )
    require(
        hasattr(features["label"], "num_classes"),
        f"--dataset={name}: its labels are not class numbers.",
    )


def _make_split(source: TFDSImages, note: str, images: DecodedImages, rows: np.ndarray) -> Split:
    return Split(
        images=images.select(rows),
        labels=images.labels[rows].astype(np.int32),
        num_classes=source.builder.info.features["label"].num_classes,
        dataset=_make_directory_name(source.dataset),
        note=note,
    )


def _make_directory_name(name: str) -> str:
    """Replace "/" and ":", which a TFDS name with a config or version has: "name/config:1.0.0"."""
    return name.replace("/", "-").replace(":", "-")


def _require_no_path(name: str) -> None:
    """Raise `UserError` if the name of a dataset is that of a file or folder without its prefix."""
    path = Path(name)
    prefix = "dir:" if path.is_dir() else {".csv": "csv:", ".npz": "npz:"}.get(path.suffix.lower())
    if path.exists() and prefix is not None:
        kind = "folder" if path.is_dir() else "file"
        raise UserError(
            f"--dataset={name}: is a {kind}, not a dataset of TFDS. To use its images:"
            f" --dataset={shlex.quote(prefix + name)}"
        )
