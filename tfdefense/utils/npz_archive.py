"""NumPy archives that are checked before anything in them is loaded."""

import math
import zipfile
from pathlib import Path
from types import TracebackType
from typing import NamedTuple, Self

import numpy as np

_SUFFIX = ".npy"


class ArrayHeader(NamedTuple):
    """Shape and dtype of an array in a file."""

    shape: tuple[int, ...]
    dtype: np.dtype


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
            self.headers = {name.removesuffix(_SUFFIX): self._read_header(name) for name in names}
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

    def _read_header(self, member: str) -> ArrayHeader:
        name = member.removesuffix(_SUFFIX)
        try:
            with self._zip.open(member) as file:
                version = np.lib.format.read_magic(file)
                read = {
                    (1, 0): np.lib.format.read_array_header_1_0,
                    (2, 0): np.lib.format.read_array_header_2_0,
                }[version]
                shape, _, dtype = read(file)
                size = self._zip.getinfo(member).file_size - file.tell()
        except Exception as error:  # NumPy parses the header as Python: damage raises many types.
            raise ValueError(f"{name} is not an array") from error
        if dtype.hasobject:
            raise ValueError(f"{name} holds Python objects")
        if math.prod(shape) * dtype.itemsize != size:
            raise ValueError(f"{name} is damaged")
        return ArrayHeader(shape, dtype)
