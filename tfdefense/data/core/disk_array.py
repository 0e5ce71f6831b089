"""Arrays too large for memory: in a file, read a few rows at a time."""

import os
import tempfile
from collections.abc import Callable

import numpy as np

from tfdefense.errors import WorkFailedError

# Larger arrays (as float32 images) go to disk; splits and tensors are copies of them. CIFAR-10 has 0.6 GiB.
MEMORY_LIMIT = 2**30


def as_images(rows: np.ndarray) -> np.ndarray:
    """uint8 in [0, 255] -> float32 in [0, 1]."""
    return np.divide(rows, 255, dtype=np.float32)


class DiskArray:
    """Rows of numbers in a temporary file; slices and index arrays give NumPy arrays.

    The file has no name, so it is gone when the process is, however that ends.

    Args:
      shape: [N, ...].
      dtype: as the file holds it.
      decode: what makes of rows from the file what slicing gives; None gives them as they are.
    """

    def __init__(
        self,
        shape: tuple[int, ...],
        dtype: type = np.uint8,
        decode: Callable[[np.ndarray], np.ndarray] | None = None,
    ) -> None:
        self._file = tempfile.TemporaryFile(prefix="tfdefense-")  # noqa: SIM115 - lives as long as the array.
        self._stored = np.dtype(dtype)
        self._decode = decode
        self._row = int(np.prod(shape[1:])) * self._stored.itemsize
        self._rows = np.arange(shape[0])
        self._shape = tuple(shape[1:])
        self.dtype = np.dtype(np.float32) if decode is as_images else self._stored

    @property
    def shape(self) -> tuple[int, ...]:
        return (len(self._rows), *self._shape)

    @property
    def ndim(self) -> int:
        return len(self.shape)

    def __len__(self) -> int:
        return len(self._rows)

    def __setitem__(self, rows: slice, values: np.ndarray) -> None:
        """Writes `values` into the rows of a slice without a step.

        Raises:
          WorkFailedError: the disk is full.
        """
        content = np.ascontiguousarray(values, self._stored).tobytes()
        try:
            done = 0
            while done < len(content):
                position = self._rows[rows.start] * self._row + done
                done += os.pwrite(self._file.fileno(), content[done:], position)
        except OSError as error:
            place = tempfile.gettempdir()
            raise WorkFailedError(
                f"{place}: images do not fit ({error.strerror}). Set TMPDIR to a larger place."
            ) from error

    def __getitem__(self, chosen: "int | slice | np.ndarray") -> np.ndarray:
        """The chosen rows, in memory."""
        rows = np.atleast_1d(self._rows[chosen])
        values = np.empty((len(rows), self._row), np.uint8)
        # Neighbours are read at once: whole slices, above all.
        for run in np.split(np.arange(len(rows)), np.flatnonzero(np.diff(rows) != 1) + 1):
            if len(run):
                content = os.pread(
                    self._file.fileno(), len(run) * self._row, rows[run[0]] * self._row
                )
                values[run] = np.frombuffer(content, np.uint8).reshape(len(run), self._row)
        values = values.view(self._stored).reshape(len(rows), *self._shape)
        values = values if self._decode is None else self._decode(values)
        return values[0] if np.ndim(self._rows[chosen]) == 0 else values

    def __array__(self, dtype: np.dtype | None = None, copy: bool | None = None) -> np.ndarray:
        """Everything, in memory: what NumPy functions that know no better do."""
        values = self[:]
        return values if dtype is None else values.astype(dtype)

    def select(self, indices: "np.ndarray | slice") -> "DiskArray":
        """The same file, of which only some rows are seen."""
        view = object.__new__(DiskArray)
        view.__dict__.update(self.__dict__, _rows=self._rows[indices])
        return view


def empty(shape: tuple[int, ...], dtype: type) -> np.ndarray | DiskArray:
    """An array of numbers to fill by slices, in memory where images of its shape would be."""
    return np.empty(shape, dtype) if fits_memory(shape) else DiskArray(shape, dtype)


def fits_memory(shape: tuple[int, ...]) -> bool:
    """Whether images of this shape are held in memory as float32."""
    return 4 * int(np.prod(shape)) <= MEMORY_LIMIT
