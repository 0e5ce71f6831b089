"""NumPy archives that are checked before anything in them is loaded."""

import math
import zipfile
from collections.abc import Collection, Mapping
from pathlib import Path
from types import TracebackType
from typing import NamedTuple, Self

import numpy as np

_SUFFIX = ".npy"


class ArrayHeader(NamedTuple):
    """Shape and dtype of an array in a file."""

    shape: tuple[int, ...]
    dtype: np.dtype


def require_declared_sizes(path: Path, names: Collection[str] | None = None) -> None:
    """Raise `ValueError` if an array of an archive declares another size than it has.

    NumPy allocates the declared size before it reads. Files in the archive that are not arrays are
    ignored.

    Args:
      path: the archive.
      names: the arrays that are to be read; None for all. The others are ignored.

    Raises:
      ValueError: an array declares another size or holds Python objects, or the archive is damaged.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            for member in archive.namelist():
                name = member.removesuffix(_SUFFIX)
                if (names is None or name in names) and _is_array(archive, member):
                    _read_header(archive, member)
    except (OSError, zipfile.BadZipFile) as error:
        raise ValueError("damaged") from error


def write_npz(
    path: Path, arrays: Mapping[str, np.ndarray], compression: int = zipfile.ZIP_STORED
) -> None:
    """Write an archive, always with the same bytes for the same arrays, which may have any names.

    `np.savez` takes arrays as keyword arguments, so it has none named `file` or `allow_pickle`.

    Args:
      path: the archive.
      arrays: by name.
      compression: a method of `zipfile` that `np.load` reads, such as `ZIP_DEFLATED`.

    Raises:
      OSError: the file cannot be written.
    """
    with zipfile.ZipFile(path, "w", compression) as archive:
        for name, array in arrays.items():
            with archive.open(name + _SUFFIX, "w", force_zip64=True) as file:
                np.lib.format.write_array(file, np.asarray(array), allow_pickle=False)


def _is_array(archive: zipfile.ZipFile, member: str) -> bool:
    """Return whether NumPy takes a member for an array; it does not need the suffix for that."""
    if member.endswith(_SUFFIX):
        return True
    with archive.open(member) as file:
        return file.read(len(np.lib.format.MAGIC_PREFIX)) == np.lib.format.MAGIC_PREFIX


class NpzArchive:
    """An .npz file, opened for reading; a context manager.

    The headers of all arrays are read first, so a caller can refuse an array by its shape and dtype
    before memory is allocated for it. Arrays of Python objects are refused.

    Args:
      path: the file.

    Attributes:
      headers: name -> header of each array.

    Raises:
      ValueError: the file cannot be read, is damaged or holds Python objects; the message is a short
        reason.
    """

    def __init__(self, path: Path) -> None:
        try:
            self._zip = zipfile.ZipFile(path)
        except (OSError, zipfile.BadZipFile) as error:
            raise ValueError("damaged") from error
        try:
            names = [member.filename for member in self._zip.infolist()]
            self.headers = {
                name.removesuffix(_SUFFIX): _read_header(self._zip, name) for name in names
            }
        except BaseException:
            self._zip.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._zip.close()

    def read(self, name: str) -> np.ndarray:
        """Return an array.

        Raises:
          KeyError: there is none of this name.
          ValueError: it is damaged; the message is a short reason.
        """
        if name not in self.headers:
            raise KeyError(name)
        try:
            with self._zip.open(name + _SUFFIX) as file:
                return np.lib.format.read_array(file, allow_pickle=False)
        except Exception as error:  # The libraries of zip files raise many types.
            raise ValueError(f"{name} is damaged") from error


def _read_header(archive: zipfile.ZipFile, member: str) -> ArrayHeader:
    name = member.removesuffix(_SUFFIX)
    try:
        with archive.open(member) as file:
            version = np.lib.format.read_magic(file)
            read = {
                (1, 0): np.lib.format.read_array_header_1_0,
                (2, 0): np.lib.format.read_array_header_2_0,
                # As 2.0, but with names of fields in UTF-8, which are not used here.
                (3, 0): np.lib.format.read_array_header_2_0,
            }[version]
            shape, _, dtype = read(file)
            size = archive.getinfo(member).file_size - file.tell()
    except Exception as error:  # NumPy parses the header as Python: damage raises many types.
        raise ValueError(f"{name} is not an array") from error
    if dtype.hasobject:
        raise ValueError(f"{name} holds Python objects")
    if math.prod(shape) * dtype.itemsize != size:
        raise ValueError(f"{name} is damaged")
    return ArrayHeader(shape, dtype)
