"""Hashes of bytes, arrays and files."""

import hashlib
from collections.abc import Iterable
from pathlib import Path

import numpy as np


def file_fingerprint(path: Path) -> str:
    """A hash of a file, or of all files of a directory and their names."""
    files = sorted(path.rglob("*")) if path.is_dir() else [path]
    files = [file for file in files if file.is_file()]
    parts = (part for file in files for part in (file.name.encode(), file.read_bytes()))
    return hashed(parts)


def hashed(parts: Iterable[bytes | np.ndarray]) -> str:
    """A hash of bytes, and of arrays with their dtypes and shapes."""
    digest = hashlib.blake2b(digest_size=16)
    for part in parts:
        if isinstance(part, np.ndarray):
            digest.update(f"{part.dtype}{part.shape}".encode())
            part = np.ascontiguousarray(part)
        digest.update(part)
    return digest.hexdigest()
