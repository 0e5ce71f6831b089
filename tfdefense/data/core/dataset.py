"""Labelled images, checked once at the door, so that nothing behind it has to check again."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from tfdefense.data.core.disk_array import DiskArray
from tfdefense.errors import UserError, require

# By flag name; those after the first are `DataOptions.settings`.
DATA_SETTINGS = ("dataset", "image_size", "split_seed")


@dataclass(frozen=True)
class DataOptions:
    """How to load a dataset, beside its name.

    Attributes:
      data_dir: where TFDS finds prepared datasets; None means `TFDS_DATA_DIR`, then TFDS's own default.
      image_size: (height, width) to which all images are resized; None leaves them as they are.
      split_seed: draws the splits that the source does not give. It is no run's seed: all runs on a
        dataset see the same test images.

    Raises:
      UserError: a number out of range.
    """

    data_dir: str | None = None
    image_size: tuple[int, int] | None = None
    split_seed: int = 0

    def __post_init__(self) -> None:
        if self.image_size is not None:
            object.__setattr__(self, "image_size", tuple(self.image_size))
            shown = "x".join(map(str, self.image_size))
            fits = len(self.image_size) == 2 and all(4 <= side <= 1024 for side in self.image_size)
            require(
                fits, f"--image_size={shown}: sides from 4 to 1024 needed, such as 32 or 32x48."
            )
        require(self.split_seed >= 0, f"--split_seed={self.split_seed}: 0 or more needed.")

    def settings(self) -> dict[str, Any]:
        """What changes the images or their splits, by flag name."""
        size = {"image_size": list(self.image_size)} if self.image_size else {}
        return {**size, **({"split_seed": self.split_seed} if self.split_seed else {})}


@dataclass(frozen=True)
class Split:
    """One part of a dataset.

    Attributes:
      images: float32 [N, H, W, C] in [0, 1]; a `DiskArray` that gives such where they are too many for
        memory.
      labels: int32 [N] in [0, num_classes).
      num_classes: K.
      dataset: the dataset's name, as reports print it.
      note: what a reader of figures from these images must know, or "".

    Raises:
      UserError: wrong shapes or types, values outside [0, 1], NaN, labels out of range.
    """

    images: np.ndarray | DiskArray
    labels: np.ndarray
    num_classes: int
    dataset: str = "images"
    note: str = ""

    def __post_init__(self) -> None:
        if not isinstance(self.images, DiskArray):  # Bytes over 255 cannot be wrong.
            check_images(self.images)
            object.__setattr__(self, "images", np.asarray(self.images, np.float32))
        check_labels(self.labels, len(self.images), self.num_classes)
        object.__setattr__(self, "labels", np.asarray(self.labels, np.int32))

    def __len__(self) -> int:
        return len(self.images)

    @property
    def image_shape(self) -> tuple[int, int, int]:
        return tuple(self.images.shape[1:])

    def select(self, indices: np.ndarray | slice) -> "Split":
        """The examples at `indices`, in that order."""
        on_disk = isinstance(self.images, DiskArray)
        images = self.images.select(indices) if on_disk else self.images[indices]
        return Split(images, self.labels[indices], self.num_classes, self.dataset, self.note)

    def take(self, count: int) -> "Split":
        """The first `count` examples (all of them, if there are fewer)."""
        return self.select(slice(0, count))


@dataclass(frozen=True)
class Dataset:
    """Three disjoint splits of labelled images: nothing is ever chosen by looking at `test`.

    Attributes:
      name: short, fit for the name of a directory.
      train, validation, test: the splits.
      class_names: K names, or none.
      source: the `--dataset` that loads it again, from any directory; "" means `name`.
      options: the other flags that loading it again needs, by name (image_size, split_seed).
      data_dir: where it was found, if that was said.
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

    def settings(self) -> dict[str, Any]:
        """What tells these images from others, by flag name."""
        return {"dataset": self.source, **self.options}

    def named_by(self, settings: Mapping[str, Any]) -> bool:
        """Whether a run's settings name just these images, cut into just these splits."""
        ours = self.settings()
        return all(settings.get(name) == ours.get(name) for name in DATA_SETTINGS)

    @property
    def image_shape(self) -> tuple[int, int, int]:
        return self.train.image_shape

    @property
    def num_classes(self) -> int:
        return self.train.num_classes


def slug(path: Path) -> str:
    """The last part of a path without its suffix, fit for the name of a directory."""
    return re.sub(r"[^\w.-]+", "_", path.resolve().stem) or "images"


def check_images(images: np.ndarray, name: str = "images") -> None:
    """Raises `UserError` unless `images` is floating point [N, H, W, C] in [0, 1] and finite."""
    shape, dtype = np.shape(images), getattr(images, "dtype", None)
    require(len(shape) == 4, f"{name}: shape {shape} given, [N, H, W, C] needed.")
    require(shape[0] > 0, f"{name}: no images given.")
    if dtype is None or not np.issubdtype(dtype, np.floating):
        raise UserError(f"{name}: dtype {dtype} given, float32 in [0, 1] needed (divide by 255?).")
    low, high = float(np.min(images)), float(np.max(images))
    require(np.isfinite(low) and np.isfinite(high), f"{name}: contain NaN or infinity.")
    scale = " (0-255 images? divide by 255)" if high > 2 else ""
    require(low >= 0 and high <= 1, f"{name}: values in [{low:g}, {high:g}], [0, 1] needed{scale}.")


def check_labels(labels: np.ndarray, count: int, num_classes: int, name: str = "labels") -> None:
    """Raises `UserError` unless `labels` is integer [count] in [0, num_classes)."""
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
    """Raises `UserError` unless `logits` is a classifier's finite output [count, K], no softmax."""
    require(
        logits.ndim == 2 and len(logits) == count,
        f"{name}: output of shape {logits.shape} for {count} images given, [N, classes] needed.",
    )
    if not np.issubdtype(logits.dtype, np.floating) or not np.all(np.isfinite(logits)):
        raise UserError(f"{name}: gives {logits.dtype}, some not finite; finite logits needed.")
    probabilities = np.all(logits >= 0) and np.allclose(logits.sum(axis=-1), 1.0, atol=1e-4)
    require(
        not probabilities,
        f"{name}: gives probabilities (a softmax at its end?), logits needed.",
    )
