"""Arrays in files that are mapped into memory, for arrays that are too large for memory."""

import mmap
import os
import tempfile
from collections.abc import Callable
from typing import IO

import numpy as np

from tfdefense.utils.temporary_directory import temporary_directory_errors

# Images that need more bytes than this as float32 stay on disk. CIFAR-10 needs 0.6 GiB.
MEMORY_LIMIT = 2**30
# At most this many bytes before and after a row are mapped when the row is read.
_MAPPED_AT_ONCE = 2**21
_CONTENT = "images that do not fit into memory"  # For error messages.


def as_images(rows: np.ndarray) -> np.ndarray:
    """Convert uint8 in [0, 255] to float32 in [0, 1]."""
    return np.divide(rows, 255, dtype=np.float32)


def fits_memory(shape: tuple[int, ...]) -> bool:
    """Return whether images of this shape are held in memory as float32."""
    return 4 * int(np.prod(shape)) <= MEMORY_LIMIT


class DiskArray:
    """Rows of numbers in a file; slices and index arrays of it are NumPy arrays in memory.

    Without `stored`, the rows are in a temporary file without a name. The system deletes it when
    the process ends, for whatever reason.

    Args:
      shape: [N, ...].
      dtype: type of the numbers in the file.
      decode: function that converts rows of the file to the result of a slice, such as `as_images`;
        None returns them unchanged.
      stored: rows that are in a file already, `shape` and `dtype` as above, mapped for reading. They
        cannot be changed.

    Raises:
      WorkFailedError: no temporary file can be created.
    """

    def __init__(
        self,
        shape: tuple[int, ...],
        dtype: type = np.uint8,
        decode: Callable[[np.ndarray], np.ndarray] | None = None,
        *,
        stored: np.memmap | None = None,
    ) -> None:
        self._file: IO[bytes] | None = None
        if stored is None:
            self._file, stored = _map_temporary_file(shape, np.dtype(dtype))
        self._stored = stored
        self._decode = decode
        self._rows = np.arange(shape[0])
        self.dtype = np.dtype(np.float32) if decode is as_images else stored.dtype

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape [N, ...]."""
        return (len(self._rows), *self._stored.shape[1:])

    @property
    def ndim(self) -> int:
        """The number of dimensions."""
        return len(self.shape)

    def __len__(self) -> int:
        return len(self._rows)

    def __setitem__(self, rows: slice, values: np.ndarray) -> None:
        """Write `values` into the rows of a slice without a step.

        Raises:
          WorkFailedError: the disk is full.
        """
        assert self._file is not None, "rows that were in a file already cannot be changed"
        content = np.ascontiguousarray(values, self._stored.dtype).tobytes()
        row_bytes = int(np.prod(self._stored.shape[1:])) * self._stored.itemsize
        # Not through the mapping: there, a full disk ends the process (SIGBUS).
        with temporary_directory_errors(_CONTENT):
            done = 0
            while done < len(content):
                position = self._rows[rows.start] * row_bytes + done
                done += os.pwrite(self._file.fileno(), content[done:], position)

    def __getitem__(self, chosen: "int | slice | np.ndarray") -> np.ndarray:
        """Return the chosen rows, in memory."""
        rows = np.atleast_1d(self._rows[chosen])
        values = np.empty((len(rows), *self._stored.shape[1:]), self._stored.dtype)
        # Neighbouring rows are copied at once.
        ends = [*(np.flatnonzero(np.diff(rows) != 1) + 1), len(rows)] if len(rows) else []
        start = 0
        for end in ends:
            first, last = int(rows[start]), int(rows[end - 1])
            values[start:end] = self._stored[first : last + 1]
            self._release(first, last + 1)
            start = end
        values = values if self._decode is None else self._decode(values)
        return values[0] if np.ndim(self._rows[chosen]) == 0 else values

    def _release(self, first: int, stop: int) -> None:
        """Remove rows [first, stop) from the memory of this process; the system may still cache them.

        Without this, every page that was ever read would count as memory of the process.
        """
        mapping = self._stored.base
        if isinstance(mapping, mmap.mmap):
            row_bytes = int(np.prod(self._stored.shape[1:])) * self._stored.itemsize
            offset = self._stored.offset % mmap.ALLOCATIONGRANULARITY
            begin = max(0, offset + first * row_bytes - _MAPPED_AT_ONCE)
            begin -= begin % mmap.PAGESIZE
            end = min(len(mapping), offset + stop * row_bytes + _MAPPED_AT_ONCE)
            mapping.madvise(mmap.MADV_DONTNEED, begin, end - begin)

    def __array__(self, dtype: np.dtype | None = None, copy: bool | None = None) -> np.ndarray:  # noqa: FBT001 - NumPy's protocol.
        """Return all rows in memory, for NumPy functions."""
        values = self[:]
        return values if dtype is None else values.astype(dtype)

    def select(self, indices: "np.ndarray | slice") -> "DiskArray":
        """Return a view of the rows at `indices`, in the same file."""
        view = object.__new__(DiskArray)
        view.__dict__.update(self.__dict__, _rows=self._rows[indices])
        return view


def empty_array(shape: tuple[int, ...], dtype: type) -> np.ndarray | DiskArray:
    """Create an array to fill by slices, in memory if float32 images of its shape fit there."""
    return np.empty(shape, dtype) if fits_memory(shape) else DiskArray(shape, dtype)


def _map_temporary_file(shape: tuple[int, ...], dtype: np.dtype) -> tuple[IO[bytes], np.memmap]:
    """Create a file for the rows, and map it for reading."""
    with temporary_directory_errors(_CONTENT):
        file = tempfile.TemporaryFile(prefix="tfdefense-")  # noqa: SIM115 - open as long as the array.
        os.ftruncate(file.fileno(), int(np.prod(shape)) * dtype.itemsize)
        return file, np.memmap(file, dtype, "r", shape=shape)
