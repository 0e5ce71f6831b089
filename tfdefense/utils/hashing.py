"""Hashes of bytes, arrays and files."""

import hashlib
from collections.abc import Iterable
from pathlib import Path

import numpy as np


def hash_path(path: Path) -> str:
    """Return the hash of a file, or of the names and contents of all files below a directory."""
    files = sorted(path.rglob("*")) if path.is_dir() else [path]
    files = [file for file in files if file.is_file()]
    parts = (part for file in files for part in (file.name.encode(), file.read_bytes()))
    return hash_parts(parts)


def hash_parts(parts: Iterable[bytes | np.ndarray]) -> str:
    """Return the BLAKE2b hash of bytes and arrays, 32 hexadecimal digits.

    An array adds its dtype, its shape and its values.
    """
    digest = hashlib.blake2b(digest_size=16)
    for part in parts:
        if isinstance(part, np.ndarray):
            digest.update(f"{part.dtype}{part.shape}".encode())
            digest.update(np.ascontiguousarray(part).data)
        else:
            digest.update(part)
    return digest.hexdigest()
