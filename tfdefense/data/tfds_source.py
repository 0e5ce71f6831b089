"""Image-classification datasets of TensorFlow Datasets (TFDS), by their names there."""

import contextlib
import socket
import urllib.request
from typing import Any

import numpy as np

from tfdefense.data.core import splitting
from tfdefense.data.core.dataset import DataOptions, Dataset, Split
from tfdefense.data.core.decoded_images import DecodedImages, decode_images
from tfdefense.data.core.tfds_images import TFDSImages, unreadable_split
from tfdefense.data.core.tfds_metadata import count_held_out
from tfdefense.data.core.tfds_names import find_data_dir, unknown_dataset
from tfdefense.errors import UserError, WorkFailedError, require, short_reason
from tfdefense.utils.progress import print_once
from tfdefense.utils.real_path import real_path

_SPLIT_SEED = 0
_DOWNLOAD_HOST = ("storage.googleapis.com", 443)


def load_tfds(name: str, options: DataOptions) -> Dataset:
    """Load a TFDS dataset with its own splits `train`, `validation` and `test`.

    Without `test`, or without labels there, its `validation` split is the test split. Without a
    further split for validation, a thirtieth of `train`, at most 2,000 images, drawn with a fixed
    seed, is the validation split. If there is no split except `train`, `options.split_seed` draws
    80, 10 and 10 % of each class. Splits that are sorted by class are used in a random order, others
    in their own. Prepared datasets in `options.data_dir` need not be in the catalogue of TFDS.

    Args:
      name: a TFDS name, such as "mnist", "cifar10" or "cmaterdb/bangla".
      options: `image_size` is needed if the images differ in size; `channels` converts them.

    Raises:
      UserError: an unknown name, a dataset that is not prepared and may not be downloaded or has no
        network for it, or one that is not for image classification.
    """
    builder = prepare_builder(name, options.data_dir, download=options.download)
    _require_classification(builder, name)
    class_names = tuple(builder.info.features["label"].names)
    splits = builder.info.splits
    source = TFDSImages(builder, name, "train", options)
    images, note = decode_images(source), source.encoding_note()
    count = len(images.labels)
    test_name = next((split for split in ("test", "validation") if split in splits), None)
    if test_name == "test" and "validation" in splits and not _has_labels(builder, name):
        print_once(
            f"--dataset={name}: its test images have no labels; those of validation are used."
        )
        test_name = "validation"
    if test_name is not None and options.split_seed:
        print_once(
            f"--split_seed={options.split_seed}: changes nothing, because {name} has its own test images"
            " and its validation images are always the same."
        )

    def load_split(split: str) -> Split:
        source = TFDSImages(builder, name, split, options)
        decoded, note = decode_images(source), source.encoding_note()
        return _make_split(source, note, decoded, np.arange(source.shape[0]))

    if test_name is None:
        shuffled = splitting.order_rows(count, options.split_seed)
        three = splitting.split_three_ways(images.labels, shuffled, name, class_names)
        train, validation, test = (_make_split(source, note, images, rows) for rows in three)
    else:
        own = {"test": load_split(test_name)}
        if test_name == "test" and "validation" in splits:
            own["validation"] = load_split("validation")
        own_labels = {split: each.labels for split, each in own.items()}
        orders = splitting.shuffle_sorted_splits({"train": images.labels, **own_labels}, name)
        rows = orders.pop("train", np.arange(count))
        own |= {split: own[split].select(order) for split, order in orders.items()}
        if "validation" not in own:
            drawn = np.random.default_rng(_SPLIT_SEED).permutation(count)[: count_held_out(count)]
            is_drawn = np.isin(rows, drawn)
            own["validation"] = _make_split(source, note, images, rows[is_drawn])
            rows = rows[~is_drawn]
        train = _make_split(source, note, images, rows)
        validation, test = own["validation"], own["test"]
    return Dataset(
        name=_make_directory_name(name),
        train=train,
        validation=validation,
        test=test,
        class_names=class_names,
        source=name,
        options=options.settings(),
        data_dir=options.data_dir and str(real_path(options.data_dir)),
    )


def prepare_builder(name: str, data_dir: str | None, *, download: bool = True) -> Any:
    """Return a TFDS builder whose files are on disk; download them first if there is a network.

    Args:
      name: a TFDS name.
      data_dir, download: see `DataOptions`.

    Raises:
      UserError: no such directory, an unknown name or version, not on disk without `download`, no
        network, or files that must be downloaded by hand.
      WorkFailedError: the download fails.
    """
    directory = find_data_dir(data_dir)
    import tensorflow_datasets as tfds

    try:
        builder = tfds.builder(name, data_dir=directory and str(directory))
    except (tfds.core.DatasetNotFoundError, ValueError):
        raise unknown_dataset(name) from None
    except (AssertionError, TypeError) as error:  # Of unknown versions and settings.
        raise UserError(f"--dataset={name}: {short_reason(error)}") from error
    if builder.is_prepared():
        return builder
    place = f"--dataset={name}: not prepared in {directory or 'the default directory of TFDS'}"
    give = f"Give the directory that holds a prepared {name!r} as --data_dir (or TFDS_DATA_DIR)"
    require(download, f"{place}. {give}.")
    # Without a network, TFDS would retry the download for minutes.
    require(
        _has_network(),
        f"{place}, and there is no network to download it. {give}, or use --dataset=digits, which"
        " needs neither.",
    )
    try:
        builder.download_and_prepare()
    except AssertionError as error:  # Such as files that a user must download first.
        raise UserError(f"--dataset={name}: {' '.join(str(error).split())}") from error
    except Exception as error:
        if isinstance(error, MemoryError) or getattr(error, "errno", None) is not None:
            raise
        reason = short_reason(error)
        raise WorkFailedError(f"--dataset={name}: cannot be downloaded: {reason}") from error
    return builder


def _has_labels(builder: Any, name: str) -> bool:
    """Return whether the test images have labels; TFDS gives -1 where they were never published."""
    import tensorflow_datasets as tfds

    decoders = {"image": tfds.decode.SkipDecoding()}
    try:
        records = builder.as_dataset(split="test", decoders=decoders).take(1)
        return all(int(record["label"]) >= 0 for record in records)
    except Exception as error:  # As in `TFDSImages.decode`.
        raise unreadable_split(name, "test", error) from error


def _has_network() -> bool:
    """Return whether the host of TFDS answers, or a proxy is set, through which it may."""
    if "https" in urllib.request.getproxies():
        return True
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
