"""Labelled images and their splits, checked once when they are created."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from tfdefense.data.core.disk_array import DiskArray
from tfdefense.data.core.mirroring import keeps_class_mirrored
from tfdefense.errors import UserError, require
from tfdefense.utils.real_path import real_path

# Flag names. Those after the first are the keys of `DataOptions.settings`.
DATA_SETTINGS = ("dataset", "image_size", "channels", "split_seed", "skip_corrupt")


@dataclass(frozen=True)
class DataOptions:
    """Options for loading a dataset.

    Attributes:
      data_dir: directory of prepared TFDS datasets; None means `TFDS_DATA_DIR`, or else the default
        directory of TFDS.
      image_size: (height, width) to which all images are resized; None keeps their size.
      split_seed: seed of the splits that the source does not define; not of the validation images of
        a TFDS dataset with test images, which are always the same. It is independent of the seed of
        a run, so all runs on a dataset have the same test images.
      skip_corrupt: leave out image files that cannot be decoded; otherwise they are an error.
      download: whether a TFDS dataset that is not on disk is downloaded; otherwise it is an error.
      channels: 1 converts all images to grey, 3 to colour; None keeps their channels.

    Raises:
      UserError: a number is out of range.
    """

    data_dir: str | None = None
    image_size: tuple[int, int] | None = None
    split_seed: int = 0
    skip_corrupt: bool = False
    download: bool = True
    channels: int | None = None

    def __post_init__(self) -> None:
        if self.image_size is not None:
            object.__setattr__(self, "image_size", tuple(self.image_size))
            shown = "x".join(map(str, self.image_size))
            fits = len(self.image_size) == 2 and all(4 <= side <= 1024 for side in self.image_size)
            require(
                fits, f"--image_size={shown}: sides from 4 to 1024 needed, such as 32 or 32x48."
            )
        require(
            self.channels in (None, 1, 3),
            f"--channels={self.channels}: 1 (grey) or 3 (colour) needed.",
        )
        require(self.split_seed >= 0, f"--split_seed={self.split_seed}: 0 or more needed.")

    def settings(self) -> dict[str, Any]:
        """Return flag name -> value of the options that change the images or their splits."""
        settings = {
            "image_size": self.image_size and list(self.image_size),
            "channels": self.channels,
            "split_seed": self.split_seed,
            "skip_corrupt": self.skip_corrupt,
        }
        return {name: value for name, value in settings.items() if value}


@dataclass(frozen=True)
class Split:
    """One part of a dataset: images and their labels.

    Attributes:
      images: float32 [N, H, W, C] in [0, 1]; a `DiskArray` if they are too large for memory.
      labels: int32 [N] in [0, num_classes).
      num_classes: K.
      dataset: name of the dataset in reports.
      note: a warning for readers of results on these images, or "".

    Raises:
      UserError: wrong shapes or dtypes, values outside [0, 1], NaN, or labels out of range.
    """

    images: np.ndarray | DiskArray
    labels: np.ndarray
    num_classes: int
    dataset: str = "images"
    note: str = ""

    def __post_init__(self) -> None:
        # A `DiskArray` is not read for the check: its numbers were checked, or are bytes over 255.
        if not isinstance(self.images, DiskArray):
            check_images(self.images)
            object.__setattr__(self, "images", np.asarray(self.images, np.float32))
        check_labels(self.labels, len(self.images), self.num_classes)
        object.__setattr__(self, "labels", np.asarray(self.labels, np.int32))

    def __len__(self) -> int:
        return len(self.images)

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """The shape (H, W, C) of one image."""
        height, width, channels = self.images.shape[1:]
        return height, width, channels

    def select(self, indices: np.ndarray | slice) -> "Split":
        """Return the examples at `indices`, in that order."""
        if isinstance(self.images, DiskArray):
            images: np.ndarray | DiskArray = self.images.select(indices)
        else:
            images = self.images[indices]
        return Split(images, self.labels[indices], self.num_classes, self.dataset, self.note)

    def take(self, count: int) -> "Split":
        """Return the first `count` examples, or all examples if there are fewer."""
        return self.select(slice(0, count))


@dataclass(frozen=True)
class Dataset:
    """Three disjoint splits of labelled images.

    Attributes:
      name: short name that is valid as a directory name.
      train: the images that networks learn from.
      validation: the images that choose weights and thresholds.
      test: the images that results are measured on. Nothing is ever chosen by them.
      class_names: K names, or ().
      source: value of `--dataset` that loads it again from any directory; "" means `name`.
      options: flag name -> value of the other flags that loading it again needs (image_size,
        channels, split_seed, skip_corrupt).
      data_dir: absolute path of the directory that it was read from, if one was given.

    Raises:
      UserError: the splits differ in the shape of their images or in the number of classes.
    """

    name: str
    train: Split
    validation: Split
    test: Split
    class_names: tuple[str, ...] = ()
    source: str = ""
    options: Mapping[str, Any] = field(default_factory=dict)
    data_dir: str | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "source", self.source or self.name)
        splits = {"train": self.train, "validation": self.validation, "test": self.test}
        for what, values in (
            ("images", {name: split.image_shape for name, split in splits.items()}),
            ("num_classes", {name: split.num_classes for name, split in splits.items()}),
        ):
            listed = ", ".join(f"{name} {value}" for name, value in values.items())
            require(
                len(set(values.values())) == 1,
                f"{self.name}: {what} differ: {listed}. All splits need the same.",
            )

    def settings(self) -> dict[str, Any]:
        """Return flag name -> value of the settings that identify the images and their splits."""
        return {"dataset": self.source, **self.options}

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """The shape (H, W, C) of one image."""
        return self.train.image_shape

    @property
    def keeps_class_mirrored(self) -> bool | None:
        """True if mirrored images keep their class; None for unknown data."""
        return keeps_class_mirrored(self.source)

    @property
    def num_classes(self) -> int:
        """The number K of classes."""
        return self.train.num_classes


def have_same_form(first: str, second: str) -> bool:
    """Return whether two values of `--dataset` differ at most in what follows a colon, as a path."""
    return first.partition(":")[0] == second.partition(":")[0]


def make_slug(path: Path) -> str:
    """Return the name of a folder, or of a file without its suffix, as the name of a directory."""
    resolved = real_path(path)
    name = resolved.name if resolved.is_dir() else resolved.stem
    return re.sub(r"[^\w.-]+", "_", name) or "images"


def check_images(images: np.ndarray, name: str = "images") -> None:
    """Raise `UserError` unless `images` is floating point [N, H, W, C] in [0, 1] without NaN."""
    shape, dtype = np.shape(images), getattr(images, "dtype", None)
    require(len(shape) == 4, f"{name}: shape {shape} given, [N, H, W, C] needed.")
    require(shape[0] > 0, f"{name}: no images given.")
    if dtype is None or not np.issubdtype(dtype, np.floating):
        is_whole = dtype is not None and np.issubdtype(dtype, np.integer)
        hint = f" ({_scaling(int(np.max(images)))}?)" if is_whole else ""
        raise UserError(f"{name}: dtype {dtype} given, float32 in [0, 1] needed{hint}.")
    low, high = float(np.min(images)), float(np.max(images))
    require(np.isfinite(low) and np.isfinite(high), f"{name}: contain NaN or infinity.")
    hint = f" ({_scaling(high)}?)" if high > 2 else ""
    require(low >= 0 and high <= 1, f"{name}: values in [{low:g}, {high:g}], [0, 1] needed{hint}.")


def _scaling(high: float) -> str:
    """Return the advice for images whose largest value is `high`."""
    if high <= 1:
        return "store them as float32"
    if high <= 255:
        return "divide by 255"
    return (
        "divide by the largest value of their type or camera, 65535 for 16 bits, 4095 for 12 bits"
    )


def check_labels(labels: np.ndarray, count: int, num_classes: int, name: str = "labels") -> None:
    """Raise `UserError` unless `labels` is integer [count] in [0, num_classes)."""
    shape, dtype = np.shape(labels), getattr(labels, "dtype", None)
    require(shape == (count,), f"{name}: shape {shape} given, ({count},) class numbers needed.")
    if dtype is None or not np.issubdtype(dtype, np.integer):
        raise UserError(f"{name}: dtype {dtype} given, integer class numbers needed.")
    low, high = int(np.min(labels)), int(np.max(labels))
    require(
        low >= 0 and high < num_classes,
        f"{name}: values in [{low}, {high}], [0, {num_classes - 1}] needed.",
    )


def check_logits(logits: np.ndarray, count: int, name: str = "model") -> None:
    """Raise `UserError` unless `logits` is floating point [count, K], finite, and not a softmax."""
    require(
        logits.ndim == 2 and len(logits) == count,
        f"{name}: output of shape {logits.shape} for {count} images given, [N, classes] needed.",
    )
    require(
        np.issubdtype(logits.dtype, np.floating) and bool(np.all(np.isfinite(logits))),
        f"{name}: gives {logits.dtype}, or values that are not finite; finite logits needed.",
    )
    probabilities = np.all(logits >= 0) and np.allclose(logits.sum(axis=-1), 1.0, atol=1e-4)
    require(
        not probabilities,
        f"{name}: gives probabilities (a softmax at its end?), logits needed.",
    )
