"""Where artefacts lie, and the images that they are made from."""

import dataclasses
import functools
import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from tfdefense import data
from tfdefense.errors import UserError, require
from tfdefense.fingerprints import data_fingerprint
from tfdefense.runs import write_text

_IMAGES = "images.json"


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

    def hold_to_images(self, names: Iterable[str]) -> None:
        """Sees to it that all that is made here is made of the same images: keys of artefacts have a dataset's name alone.

        Raises:
          UserError: what lies here was made of other images of that name, such as a lossy copy of them.
        """
        path = self.path / _IMAGES
        known = _known_images(path)
        for name in names:
            found = self.dataset(name)
            prints = [data_fingerprint(found.train), data_fingerprint(found.test)]
            require(
                known.get(name, prints) == prints,
                f"--store={self.path}: was made of other images of {name!r} than --data_dir={self.data_dir} has."
                " Name another --store, or give it the same images.",
            )
            if name not in known:
                known[name] = prints
                self.path.mkdir(parents=True, exist_ok=True)
                write_text(path, json.dumps(known, indent=2) + "\n")


def _known_images(path: Path) -> dict[str, list[str]]:
    try:
        return json.loads(path.read_text())
    except FileNotFoundError:
        return {}
    except ValueError as error:
        raise UserError(f"{path}: damaged ({error}). Delete it to start it anew.") from error


@functools.lru_cache(maxsize=1)
def _dataset(name: str, data_dir: str | None) -> data.Dataset:
    return data.load(name, data_dir)
