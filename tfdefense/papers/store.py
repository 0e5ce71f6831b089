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

    def hold_to_images(
        self,
        names: Iterable[str],
        measured: Mapping[str, Fingerprints] | None = None,
        keep: bool = True,
    ) -> None:
        """Sees to it that one store, and one table, is made of the same images: keys of artefacts have a dataset's name alone.

        Args:
          names: of datasets.
          measured: of what images the cells are that are there already, by dataset, where that is known.
          keep: whether to write down what images they are, where nothing is known of them yet.

        Raises:
          UserError: what lies here, or was measured elsewhere, was made of other images of that name, such as a lossy
            copy of them; or the folder cannot be written.
        """
        for name in names:
            prints = self.fingerprints(name)
            here = f"--store={self.path}"
            self._require_same(here, name, self._known(name), prints)
            earlier = (measured or {}).get(name)
            self._require_same("What was measured earlier", name, earlier, prints)
            if keep:
                self._require_same(here, name, self._written(name, prints), prints)

    def _require_same(
        self, what: str, name: str, known: Fingerprints | None, prints: Fingerprints
    ) -> None:
        where = (
            f"--data_dir={self.data_dir} has" if self.data_dir else "are found without --data_dir"
        )
        require(
            known in (None, prints),
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

    def _written(self, name: str, prints: Fingerprints) -> Fingerprints | None:
        """What stands in the file, of several machines that write it at once the first one's."""
        path = self._images_path(name)
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            with path.open("x") as file:
                file.write(json.dumps(prints) + "\n")  # In one go: it is short.
        except FileExistsError:
            return self._known(name)
        except OSError as error:
            raise UserError(
                f"--store={self.path}: cannot be written ({error.strerror})."
            ) from error
        return prints

    def _images_path(self, name: str) -> Path:
        return self.path / "images" / f"{name}.json"


@functools.lru_cache(maxsize=1)
def _dataset(name: str, data_dir: str | None) -> data.Dataset:
    return data.load(name, data_dir)


@functools.lru_cache
def _fingerprints(name: str, data_dir: str | None) -> Fingerprints:
    found = _dataset(name, data_dir)
    return {"train": data_fingerprint(found.train), "test": data_fingerprint(found.test)}
