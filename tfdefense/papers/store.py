"""Store: the folder of all targets, and the images that they are made from."""

import dataclasses
import functools
import json
import time
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from tfdefense import data
from tfdefense.data.core.fingerprint import data_fingerprint
from tfdefense.data.core.tfds_metadata import DatasetSize, read_prepared_size
from tfdefense.errors import UserError, require
from tfdefense.papers.leases import lease
from tfdefense.utils.atomic_write import write_text_file
from tfdefense.utils.json_types import TypeMismatch, typed_value
from tfdefense.utils.progress import print_line
from tfdefense.utils.untrusted_file import read_json_file

_WAIT_SECONDS = 0.1
Fingerprints = dict[str, str]


@dataclasses.dataclass(frozen=True)
class TargetStore:
    """Folder of targets, which several machines may share.

    Attributes:
      path: the folder.
      data_dir: directory of prepared TFDS datasets on this machine; None for TFDS's default.
      known_records: records of cells that were measured with other stores, by key.
    """

    path: Path
    data_dir: str | None = None
    known_records: Mapping[str, Mapping[str, Any]] = dataclasses.field(default_factory=dict)

    def dataset(self, name: str) -> data.Dataset:
        """Return a dataset, which is read once per process."""
        return _dataset(name, self.data_dir)

    def size(self, name: str) -> DatasetSize:
        """Return the size of a dataset; of a prepared one of TFDS, its images are not read."""
        size = _prepared_size(name, self.data_dir)
        if size is not None:
            return size
        dataset = self.dataset(name)
        return DatasetSize(dataset.image_shape, len(dataset.train))

    def must_read_images(self, name: str) -> bool:
        """Return whether the images of a dataset must be read to know its size."""
        return _prepared_size(name, self.data_dir) is None

    def fingerprints(self, name: str) -> Fingerprints:
        """Return hashes of the images and labels of a dataset, by split."""
        return _fingerprints(name, self.data_dir)

    def require_same_images(
        self, names: Iterable[str], measured: Mapping[str, Fingerprints]
    ) -> None:
        """Check that the store and the measured cells use the images of this machine.

        The key of a target contains only the dataset's name, so the images are checked here.

        Args:
          names: names of datasets.
          measured: fingerprints of the images of measured cells, by dataset.

        Raises:
          UserError: the store or a cell was made from other images of that name, such as a lossy
            copy.
        """
        for name in names:
            here = self.fingerprints(name)
            self._require_same(f"--store={self.path}", name, self._read_fingerprints(name), here)
            self._require_same("The measured figures", name, measured.get(name), here)

    def record_images(self, names: Iterable[str]) -> None:
        """Write the fingerprints of datasets into the store, where it has none.

        Raises:
          UserError: another machine has just recorded other images, or the folder cannot be
            written.
        """
        for name in names:
            here = self.fingerprints(name)
            self._require_same(f"--store={self.path}", name, self._record(name, here), here)

    def _require_same(
        self, subject: str, name: str, known: Fingerprints | None, here: Fingerprints
    ) -> None:
        place = f"with --data_dir={self.data_dir}" if self.data_dir else "without --data_dir"
        require(
            known in (None, here),
            f"{subject}: made from other images of {name!r} than those found {place}. Give the same images, or another"
            " --store and --output.",
        )

    def _read_fingerprints(self, name: str) -> Fingerprints | None:
        path = self._fingerprints_path(name)
        try:
            if not path.exists():
                return None
            known = typed_value(read_json_file(path), dict)
            return {name: typed_value(value, str) for name, value in known.items()}
        except UserError:
            raise
        except OSError as error:
            raise UserError(f"{path}: cannot be read ({error.strerror}).") from error
        except TypeMismatch as error:
            raise UserError(f"{path}: damaged: {error} is needed.") from error
        except ValueError as error:
            raise UserError(f"{path}: damaged ({error}).") from error

    def _record(self, name: str, fingerprints: Fingerprints) -> Fingerprints:
        """Write the fingerprints unless another machine was first; return those in the file."""
        path = self._fingerprints_path(name)
        has_printed = False
        try:
            while (known := self._read_fingerprints(name)) is None:
                with lease(path) as is_leased:
                    if is_leased and self._read_fingerprints(name) is None:
                        write_text_file(path, json.dumps(fingerprints) + "\n")
                if not is_leased:
                    if not has_printed:
                        print_line(f"Waiting for the process that holds {path}.lease.")
                    has_printed = True
                    time.sleep(_WAIT_SECONDS)
        except OSError as error:
            raise UserError(
                f"--store={self.path}: cannot be written ({error.strerror})."
            ) from error
        return known

    def _fingerprints_path(self, name: str) -> Path:
        return self.path / "images" / f"{name}.json"


@functools.lru_cache(maxsize=1)
def _dataset(name: str, data_dir: str | None) -> data.Dataset:
    return data.load(name, data_dir)


@functools.lru_cache
def _prepared_size(name: str, data_dir: str | None) -> DatasetSize | None:
    return read_prepared_size(name, data_dir)


@functools.lru_cache
def _fingerprints(name: str, data_dir: str | None) -> Fingerprints:
    dataset = _dataset(name, data_dir)
    return {"train": data_fingerprint(dataset.train), "test": data_fingerprint(dataset.test)}
