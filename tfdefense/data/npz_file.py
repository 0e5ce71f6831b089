"""Images in a NumPy archive: `--dataset=npz:FILE`."""

import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from tfdefense.data.core import splitting
from tfdefense.data.core.array_images import check_image_array, fit_images
from tfdefense.data.core.class_labels import MAX_CLASSES, number_labels
from tfdefense.data.core.dataset import (
    DataOptions,
    Dataset,
    Split,
    check_labels,
    make_slug,
)
from tfdefense.data.core.disk_array import DiskArray
from tfdefense.data.core.file_listing import shorten_list
from tfdefense.errors import UserError, WorkFailedError, cut_text, require
from tfdefense.utils.npz_archive import require_declared_sizes
from tfdefense.utils.progress import print_once
from tfdefense.utils.real_path import real_path
from tfdefense.utils.untrusted_file import require_archive_size

# Split name -> keys of its images and labels, in the archives of Keras and of MedMNIST; in an archive
# the letters may be of either case, as in `X_train`.
_SPLIT_KEYS = {
    "train": (("x_train", "y_train"), ("train_images", "train_labels")),
    "validation": (
        ("x_val", "y_val"),
        ("x_valid", "y_valid"),
        ("x_validation", "y_validation"),
        ("x_dev", "y_dev"),
        ("val_images", "val_labels"),
    ),
    "test": (("x_test", "y_test"), ("test_images", "test_labels")),
    "all": (("images", "labels"), ("x", "y")),
}
_KEYS = {key for choices in _SPLIT_KEYS.values() for keys in choices for key in keys}
_NEEDED_KEYS = "x_train, y_train, x_test, y_test (or train_images, ...), or images, labels, needed"

# Images float32 [N, H, W, C] in [0, 1], and labels int32 or string [N].
Part = tuple[np.ndarray | DiskArray, np.ndarray]


def load_npz_file(name: str, options: DataOptions) -> Dataset:
    """Load images and labels from an archive with the keys of Keras or of MedMNIST.

    Images are uint8 in [0, 255] or floating point in [0, 1], [N, H, W] or [N, H, W, C]. Keys are
    `x_train`, `y_train`, `x_test`, `y_test` and optionally `x_val`, `y_val` (Keras; also `x_valid`,
    `x_validation`, `x_dev`), or
    `train_images`, `train_labels` and so on (MedMNIST). With `x_train`, either the test or the
    validation images may be missing; they are drawn from the training images. With `images` and
    `labels` alone, `options.split_seed` draws 80, 10 and 10 % of each class. Labels are class
    numbers from 0, or class names (arrays of strings), which are numbered in alphabetical order.

    Args:
      name: "npz:FILE".
      options: `image_size` resizes all images, `channels` converts them to grey or colour.

    Raises:
      UserError: no such file, a damaged one, other keys, wrong shapes, dtypes or values, parts of
        different shapes, or too few images for the splits.
    """
    path = Path(name.removeprefix("npz:"))
    require(path.is_file(), f"--dataset={name}: no such file.")
    arrays, class_names = _name_classes(_read_arrays(path, name, options), name)
    _require_one_shape(arrays, name)
    num_classes = len(class_names)
    parts = {}
    for part, (images, labels) in arrays.items():
        check_labels(labels, len(images), num_classes, f"--dataset={name}: labels of {part}")
        parts[part] = Split(images, labels, num_classes, dataset=f"npz-{make_slug(path)}")
    splits = _complete_splits(parts, options.split_seed, name, class_names)
    return Dataset(
        name=f"npz-{make_slug(path)}",
        train=splits["train"],
        validation=splits["validation"],
        test=splits["test"],
        class_names=class_names,
        source=f"npz:{real_path(path)}",
        options=options.settings(),
    )


def _read_arrays(path: Path, name: str, options: DataOptions) -> dict[str, Part]:
    """Return split name -> its images and labels."""
    arrays = {}
    require(
        zipfile.is_zipfile(path), f"--dataset={name}: cannot be read (damaged, or not an .npz)."
    )
    require_archive_size(path, f"--dataset={name}")
    try:
        with zipfile.ZipFile(path) as members:
            stored = [member.removesuffix(".npy") for member in members.namelist()]
        require_declared_sizes(path, {key for key in stored if key.lower() in _KEYS})
        with np.load(path, allow_pickle=False) as archive:
            keys, used = {key.lower(): key for key in archive.files}, set()
            for part, choices in _SPLIT_KEYS.items():
                for pair in choices:
                    if keys.keys() >= set(pair):
                        image_key, label_key = (keys[key] for key in pair)
                        arrays[part] = _read_part(archive, image_key, label_key, name, options)
                        used |= set(pair)
                        break
    except (UserError, WorkFailedError, MemoryError, tf.errors.ResourceExhaustedError):
        raise
    except Exception as error:  # The libraries of zip files raise many types.
        has_objects = "pickle" in str(error) or "Python objects" in str(error)
        objects = "it holds Python objects; save names with labels.astype(str)"
        reason = objects if has_objects else "damaged, or not an .npz"
        raise UserError(f"--dataset={name}: cannot be read ({reason}).") from error
    held = shorten_list([cut_text(key) for key in keys.values()]) or "nothing"
    if "train" in arrays and arrays.keys() & {"validation", "test"}:
        arrays.pop("all", None)
    else:
        require("all" in arrays, f"--dataset={name}: holds {held}; {_NEEDED_KEYS}.")
        arrays = {"all": arrays["all"]}
    if len(used) < len(keys) or len(used) > 2 * len(arrays):
        print_once(f"--dataset={name}: holds {held}. Splits used: {', '.join(arrays)}.")
    return arrays


def _name_classes(arrays: dict[str, Part], name: str) -> tuple[dict[str, Part], tuple[str, ...]]:
    """Return the arrays with class numbers, int32 [N], in place of names; and the class names."""
    named = [part for part, (_, labels) in arrays.items() if labels.dtype.kind == "U"]
    require(
        len(named) in (0, len(arrays)),
        f"--dataset={name}: labels of {', '.join(named)} are names, the others are numbers.",
    )
    if not named:
        num_classes = 1 + max(int(labels.max()) for _, labels in arrays.values())
        require(num_classes >= 2, f"--dataset={name}: one class only, two or more needed.")
        return arrays, tuple(str(label) for label in range(num_classes))
    texts = np.concatenate([labels for _, labels in arrays.values()]).tolist()
    numbers, class_names = number_labels(texts, [""] * len(texts), name)
    ends = np.cumsum([len(labels) for _, labels in arrays.values()])[:-1]
    divided = zip(arrays.items(), np.split(numbers, ends), strict=True)
    return {part: (images, each) for (part, (images, _)), each in divided}, class_names


def _read_part(
    archive: Mapping[str, Any], image_key: str, label_key: str, name: str, options: DataOptions
) -> Part:
    """Return the images and labels of a part, checked. The stored array is freed on return."""
    place = f"--dataset={name}: {image_key}"
    images = check_image_array(archive[image_key], place)
    labels = _read_labels(archive[label_key], len(images), f"--dataset={name}: {label_key}")
    return fit_images(images, options.image_size, options.channels, place), labels


def _read_labels(labels: np.ndarray, count: int, place: str) -> np.ndarray:
    """Return labels int32 or string [count], checked; `place` comes first in error messages."""
    if labels.ndim == 2 and labels.shape[1] == 1:
        labels = labels[:, 0]
    hint = " (one-hot labels? np.argmax(labels, axis=1))" if labels.ndim == 2 else ""
    require(
        labels.shape == (count,) and labels.dtype.kind in "iuUS",
        f"{place}: {labels.dtype} of shape {labels.shape} given, {count:,} whole numbers or strings"
        f" needed{hint}.",
    )
    if labels.dtype.kind == "S":  # Not before: there may be any number of labels of no bytes.
        labels = np.char.decode(labels, "utf-8")
    if labels.dtype.kind == "U":
        labels.tolist()  # Raises if it has characters that do not exist.
        return labels
    # Before the conversion to int32, in which larger numbers would wrap around.
    lowest, highest = int(labels.min()), int(labels.max())
    require(
        lowest > -MAX_CLASSES and highest < MAX_CLASSES,
        f"{place}: values from {lowest} to {highest} given, classes from 0 to {MAX_CLASSES - 1:,}"
        " needed.",
    )
    return labels.astype(np.int32)


def _require_one_shape(arrays: Mapping[str, Part], name: str) -> None:
    """Raise `UserError` if images of the parts differ in shape."""
    shapes = {part: images.shape[1:] for part, (images, _) in arrays.items()}
    channels = {shape[-1] for shape in shapes.values()}
    sizes = {shape[:2] for shape in shapes.values()}
    listed = ", ".join(f"{part} {shape}" for part, shape in shapes.items())
    flag = "channels=3, or 1" if len(channels) > 1 else "image_size=32, or HEIGHTxWIDTH"
    require(
        len(channels) == len(sizes) == 1,
        f"--dataset={name}: images of different shapes: {listed}. Give one shape: --{flag}.",
    )


def _complete_splits(
    parts: dict[str, Split], seed: int, name: str, class_names: tuple[str, ...]
) -> dict[str, Split]:
    """Return train, validation and test; those that the archive lacks are drawn by `seed`.

    Parts of the archive keep their order, unless it is by class: see `shuffle_sorted_splits`.
    """
    labels = {part: split.labels for part, split in parts.items()}
    orders = {part: splitting.order_rows(len(split), seed) for part, split in parts.items()}
    planned = splitting.plan_splits(labels, orders, name, class_names)
    splits = {
        split: parts[part] if rows is orders[part] else parts[part].select(rows)
        for split, (part, rows) in planned.items()
    }
    whole = {
        split: splits[split].labels
        for split, (part, rows) in planned.items()
        if rows is orders[part]
    }
    for split, rows in splitting.shuffle_sorted_splits(whole, name).items():
        splits[split] = splits[split].select(rows)
    return splits
