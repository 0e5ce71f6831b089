"""Arrays in .npy files that are written in parts and checked when they are opened."""

import hashlib
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np

from tfdefense.errors import require

_HASH_BYTES = 16


def write_array(
    path: Path, shape: tuple[int, ...], dtype: np.dtype, parts: Iterable[bytes]
) -> dict[str, Any]:
    """Write an .npy file in parts, and return its record for `open_array`.

    Args:
      path: the file.
      shape: of the array.
      dtype: of the array.
      parts: the bytes of the array in C order.

    Returns:
      Shape, dtype, length of the file in bytes, and BLAKE2b hash of `parts`, as JSON can hold them.

    Raises:
      OSError: the file cannot be written.
    """
    digest = hashlib.blake2b(digest_size=_HASH_BYTES)
    with open(path, "wb") as file:
        about = {"descr": dtype.str, "fortran_order": False, "shape": shape}
        np.lib.format.write_array_header_1_0(file, about)
        for part in parts:
            file.write(part)
            digest.update(part)
        length = file.tell()
    return {
        "shape": list(shape),
        "dtype": dtype.str,
        "length": length,
        "blake2b": digest.hexdigest(),
    }


def open_array(
    path: Path, shape: tuple[int, ...], dtype: np.dtype, record: dict[str, Any]
) -> np.memmap:
    """Open an .npy file memory-mapped for reading, and check all of it.

    Args:
      path: the file.
      shape: the shape that it must have.
      dtype: the dtype that it must have.
      record: the result of `write_array`.

    Raises:
      OSError: the file cannot be read.
      ValueError: it is not an .npy file, or differs from `shape`, `dtype` or `record`.
    """
    try:
        array = np.load(path, mmap_mode="r", allow_pickle=False)
    except OSError:
        raise
    except Exception as error:  # NumPy parses the header as Python: damage raises many types.
        raise ValueError(f"{path}: not an .npy file.") from error
    require(isinstance(array, np.memmap), f"{path}: not an .npy file.")
    found = {
        "shape": list(array.shape),
        "dtype": array.dtype.str,
        "length": path.stat().st_size,
        "blake2b": _hash_from(path, array.offset),
    }
    fits = (array.shape, array.dtype) == (shape, dtype) and array.flags.c_contiguous
    require(fits and found == record, f"{path}: differs from its record.")
    return array


def _hash_from(path: Path, offset: int) -> str:
    # Read from the file, because pages of a mapping count as memory of this process.
    with open(path, "rb") as file:
        file.seek(offset)
        digest = hashlib.file_digest(file, lambda: hashlib.blake2b(digest_size=_HASH_BYTES))
    return digest.hexdigest()
