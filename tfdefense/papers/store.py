"""Where artefacts lie, and the images that they are made from."""

import dataclasses
import functools
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tfdefense import data


@dataclasses.dataclass(frozen=True)
class Store:
    """A folder that machines may share.

    Attributes:
      path: the folder.
      data_dir: where TFDS finds prepared datasets, on this machine.
      measured: key of a cell -> what was written down when another store had it measured.
    """

    path: Path
    data_dir: str | None = None
    measured: Mapping[str, Mapping[str, Any]] = dataclasses.field(default_factory=dict)

    def dataset(self, name: str) -> data.Dataset:
        """A dataset, read once."""
        return _dataset(name, self.data_dir)


@functools.lru_cache(maxsize=1)
def _dataset(name: str, data_dir: str | None) -> data.Dataset:
    return data.load(name, data_dir)
