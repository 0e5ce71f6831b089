"""Images in a NumPy archive: `--dataset=npz:FILE`."""

import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from tfdefense.data.core import splitting
from tfdefense.data.core.dataset import (
    DataOptions,
    Dataset,
    Split,
    check_images,
    check_labels,
    slug,
)
from tfdefense.data.core.resizing import resized
from tfdefense.errors import UserError, require

# (images, labels) of each split, as Keras' and as MedMNIST's archives call them.
_SPLITS = {
    "train": (("x_train", "y_train"), ("train_images", "train_labels")),
    "validation": (("x_val", "y_val"), ("val_images", "val_labels")),
    "test": (("x_test", "y_test"), ("test_images", "test_labels")),
    "all": (("images", "labels"), ("x", "y")),
}
_MOST_CLASSES = 100_000
_NEEDED = "x_train, y_train, x_test, y_test (or train_images, ...), or images, labels, needed"


def load_npz_file(name: str, options: DataOptions) -> Dataset:
    """A NumPy archive of images and class numbers, with the keys of Keras' or of MedMNIST's archives.

    Images are uint8 in [0, 255] or floats in [0, 1], [N, H, W] or [N, H, W, C]. Keys are `x_train`, `y_train`, `x_test`, `y_test` (`x_val`, `y_val`), as in Keras' archives, or
    `train_images`, `train_labels` and so on, as in MedMNIST's; with `images` and `labels` alone
    `options.split_seed` draws 80, 10 and 10 % of each class.

    Args:
      name: "npz:FILE".
      options: `image_size` resizes all images.

    Raises:
      UserError: no such file, damaged, other keys, wrong shapes, types or values, too few to split.
    """
    path = Path(name.removeprefix("npz:"))
    require(path.is_file(), f"--dataset={name}: no such file.")
    found = _read(path, name)
    num_classes = 1 + max(int(labels.max()) for _, labels in found.values())
    class_names = tuple(str(label) for label in range(num_classes))
    require(num_classes >= 2, f"--dataset={name}: one class only, two or more needed.")
    splits = {}
    for part, (images, labels) in found.items():
        check_labels(labels, len(images), num_classes, f"--dataset={name}: labels of {part}")
        images = images if options.image_size is None else resized(images, options.image_size)
        splits[part] = Split(images, labels, num_classes, dataset=f"npz-{slug(path)}")
    splits = _divided(splits, options, name, class_names)
    return Dataset(
        name=f"npz-{slug(path)}",
        class_names=class_names,
        source=f"npz:{path.resolve()}",
        options=options.settings(),
        **splits,
    )


def _read(path: Path, name: str) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Split name -> (float32 images [N, H, W, C] in [0, 1], integer labels [N])."""
    found = {}
    require(
        zipfile.is_zipfile(path),
        f"--dataset={name}: cannot be read (damaged, or not an .npz).",
    )
    try:
        with np.load(path, allow_pickle=False) as archive:
            for part, choices in _SPLITS.items():
                for keys in choices:
                    if keys[0] in archive and keys[1] in archive:
                        found[part] = _checked(archive, keys, name)
                        break
            keys = ", ".join(archive.files)
    except UserError:
        raise
    except (
        OSError,
        ValueError,
        EOFError,
        AttributeError,
        zipfile.BadZipFile,
        zipfile.zlib.error,
    ) as error:
        reason = "it holds Python objects" if "pickle" in str(error) else "damaged, or not an .npz"
        raise UserError(f"--dataset={name}: cannot be read ({reason}).") from error
    complete = {"train", "test"} <= found.keys() or "all" in found
    require(complete, f"--dataset={name}: holds {keys or 'nothing'}; {_NEEDED}.")
    if "train" in found:
        found.pop("all", None)
    return found


def _checked(
    archive: Mapping[str, Any], keys: tuple[str, str], name: str
) -> tuple[np.ndarray, np.ndarray]:
    images, labels = archive[keys[0]], archive[keys[1]]
    where = f"--dataset={name}: {keys[0]}"
    require(
        images.ndim > 0 and images.size > 0, f"{where}: no images (shape {images.shape} given)."
    )
    if images.ndim == 3:
        images = images[..., np.newaxis]
    require(
        images.ndim == 4 and images.shape[-1] in (1, 3),
        f"{where}: shape {images.shape} given, [N, H, W] or [N, H, W, 1 or 3] needed"
        + (" (channels come last)." if images.ndim == 4 and images.shape[1] in (1, 3) else "."),
    )
    if images.dtype == np.uint8:
        images = np.divide(images, 255, dtype=np.float32)
    else:
        check_images(images, where)
    if labels.ndim == 2 and labels.shape[1] == 1:
        labels = labels[:, 0]
    hot = " (one-hot labels? np.argmax(labels, axis=1))" if labels.ndim == 2 else ""
    require(
        labels.shape == (len(images),) and np.issubdtype(labels.dtype, np.integer),
        f"--dataset={name}: {keys[1]}: {labels.dtype} of shape {labels.shape} given, {len(images):,} whole"
        f" numbers needed{hot}.",
    )
    # Before they become int32, which larger ones would fit into by losing their heads.
    lowest, highest = int(labels.min()), int(labels.max())
    require(
        lowest > -_MOST_CLASSES and highest < _MOST_CLASSES,
        f"--dataset={name}: {keys[1]}: values from {lowest} to {highest} given, classes from 0 to {_MOST_CLASSES - 1:,} needed.",
    )
    return images.astype(np.float32, copy=False), labels.astype(np.int32)


def _divided(
    splits: dict[str, Split], options: DataOptions, name: str, class_names: tuple[str, ...]
) -> dict[str, Split]:
    if "all" in splits:
        everything = splits["all"]
        keys = [str(index) for index in range(len(everything))]
        shuffled = splitting.order(keys, options.split_seed)
        indices = splitting.three_ways(everything.labels, shuffled, name, class_names)
        parts = ("train", "validation", "test")
        return {p: everything.select(i) for p, i in zip(parts, indices, strict=True)}
    if "validation" not in splits:
        train = splits["train"]
        shuffled = splitting.order([str(i) for i in range(len(train))], options.split_seed)
        rest, validation = splitting.two_ways(train.labels, shuffled, name, class_names)
        splits = {**splits, "train": train.select(rest), "validation": train.select(validation)}
    return splits
