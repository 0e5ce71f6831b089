"""Size of a prepared TFDS dataset, from its JSON files: without TensorFlow, and without its images."""

import re
from pathlib import Path
from typing import Any, NamedTuple

from tfdefense.data.core.tfds_names import default_data_dir, find_data_dir
from tfdefense.data.registry import SOURCES
from tfdefense.utils.untrusted_file import read_json_file

_VERSION = re.compile(r"[0-9]+\.[0-9]+\.[0-9]+")
_MAX_VALIDATION_IMAGES = 2_000


class DatasetSize(NamedTuple):
    """Size of a dataset.

    Attributes:
      image_shape: (H, W, C).
      train_images: number of training images, without those of the validation split.
    """

    image_shape: tuple[int, int, int]
    train_images: int


def read_prepared_size(name: str, data_dir: str | None = None) -> DatasetSize | None:
    """Return the size of a dataset as `load_tfds` loads it, or None if the files do not tell.

    They do not tell whether test images have labels, which is taken for granted. They tell the size of
    a dataset without configs that is prepared in one version, with images of one size
    and with a split `test` or `validation`.

    Args:
      name: a TFDS name.
      data_dir: see `DataOptions`.

    Raises:
      UserError: no such directory.
    """
    folder = (find_data_dir(data_dir) or default_data_dir()) / name
    if name in SOURCES.entries or not name.isidentifier() or not folder.is_dir():
        return None
    versions = [path for path in folder.iterdir() if path.is_dir()]
    if len(versions) != 1 or not _VERSION.fullmatch(versions[0].name):
        return None
    try:
        return _read_size(versions[0])
    except (ValueError, KeyError, TypeError):  # Another form of metadata, or damage.
        return None


def count_held_out(train_images: int) -> int:
    """Return the images of `train` that are the validation split of a dataset without one."""
    return min(_MAX_VALIDATION_IMAGES, max(1, train_images // 30))


def _read_size(directory: Path) -> DatasetSize | None:
    features: Any = read_json_file(directory / "features.json")
    image = features["featuresDict"]["features"]["image"]["image"]
    shape = [int(side) for side in image["shape"]["dimensions"]]
    info: Any = read_json_file(directory / "dataset_info.json")
    counts = {split["name"]: sum(map(int, split["shardLengths"])) for split in info["splits"]}
    if len(shape) != 3 or min(shape) < 1 or not {"test", "validation"} & set(counts):
        return None
    held_out = 0 if {"test", "validation"} <= set(counts) else count_held_out(counts["train"])
    height, width, channels = shape
    return DatasetSize((height, width, channels), counts["train"] - held_out)
