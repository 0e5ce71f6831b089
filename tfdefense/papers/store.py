"""Where artefacts lie, and the images that they are made from."""

import dataclasses
import functools
import json
import time
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from tfdefense import data
from tfdefense.data.core.fingerprint import data_fingerprint
from tfdefense.errors import UserError, require
from tfdefense.papers.leases import lease
from tfdefense.training.run_directory import write_text

_WAIT_SECONDS = 0.1
Fingerprints = dict[str, str]


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

    def fingerprints(self, name: str) -> Fingerprints:
        """Of a dataset's images and labels, split by split."""
        return _fingerprints(name, self.data_dir)

    def require_images(self, names: Iterable[str], measured: Mapping[str, Fingerprints]) -> None:
        """Sees to it that one store, and one table, is made of the same images: keys of artefacts have a dataset's name alone.

        Args:
          names: of datasets.
          measured: of what images the cells are that are there already, by dataset, where that is known.

        Raises:
          UserError: what lies here, or was measured already, was made of other images of that name, such as a lossy
            copy of them.
        """
        for name in names:
            self._require_same(f"--store={self.path}", name, self._known(name))
            self._require_same("What was measured earlier", name, measured.get(name))

    def hold_to_images(self, names: Iterable[str]) -> None:
        """Writes down what images these datasets are, where nothing is known of them yet.

        Raises:
          UserError: another machine has just begun with others, or the folder cannot be written.
        """
        for name in names:
            kept = self._written(name, self.fingerprints(name))
            self._require_same(f"--store={self.path}", name, kept)

    def _require_same(self, what: str, name: str, known: Fingerprints | None) -> None:
        where = (
            f"--data_dir={self.data_dir} has" if self.data_dir else "are found without --data_dir"
        )
        require(
            known in (None, self.fingerprints(name)),
            f"{what}: was made of other images of {name!r} than {where}. The same images, or another --store and"
            " --output, needed.",
        )

    def _known(self, name: str) -> Fingerprints | None:
        path = self._images_path(name)
        try:
            known = json.loads(path.read_text())
            require(isinstance(known, dict), f"{path}: damaged.")
        except (FileNotFoundError, NotADirectoryError):
            return None
        except OSError as error:
            raise UserError(f"{path}: cannot be read ({error.strerror}).") from error
        except ValueError as error:
            raise UserError(f"{path}: damaged ({error}).") from error
        return known

    def _written(self, name: str, prints: Fingerprints) -> Fingerprints:
        """What stands in the file, of several machines that write it at once the first one's."""
        path = self._images_path(name)
        try:
            while (known := self._known(name)) is None:
                with lease(path) as mine:
                    if mine and self._known(name) is None:
                        write_text(path, json.dumps(prints) + "\n")
                if not mine:
                    time.sleep(_WAIT_SECONDS)
        except OSError as error:
            raise UserError(
                f"--store={self.path}: cannot be written ({error.strerror})."
            ) from error
        return known

    def _images_path(self, name: str) -> Path:
        return self.path / "images" / f"{name}.json"


@functools.lru_cache(maxsize=1)
def _dataset(name: str, data_dir: str | None) -> data.Dataset:
    return data.load(name, data_dir)


@functools.lru_cache
def _fingerprints(name: str, data_dir: str | None) -> Fingerprints:
    found = _dataset(name, data_dir)
    return {"train": data_fingerprint(found.train), "test": data_fingerprint(found.test)}
