"""Hashes of bytes, arrays and files."""

import hashlib
import json
import os
import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from tfdefense.utils.real_path import real_path

_PART_BYTES = 2**20
_HASH = re.compile(r"[0-9a-f]{32}")


def hash_path(path: Path) -> str:
    """Return the hash of a file, or of the names and contents of all files below a directory.

    Links are followed, also those to directories.
    """
    files = sorted(_files_below(path)) if path.is_dir() else [path]
    files = [file for file in files if file.is_file()]
    return hash_parts(part for file in files for part in _named_parts(file))


def _files_below(directory: Path) -> Iterator[Path]:
    """Yield the files below a directory; a directory that links name again is read once."""
    seen = {real_path(directory)}
    for place, folders, names in os.walk(directory, followlinks=True):
        new = []
        for folder in sorted(folders):
            real = real_path(Path(place) / folder)
            new += [] if real in seen else [folder]
            seen.add(real)
        folders[:] = new
        yield from (Path(place) / name for name in names)


def _named_parts(file: Path) -> Iterator[bytes]:
    """Yield the name of a file and its content in parts, because a model may be large."""
    yield os.fsencode(file.name)
    with file.open("rb") as opened:
        while part := opened.read(_PART_BYTES):
            yield part


def hash_settings(settings: Mapping[str, Any]) -> str:
    """Return the hash of settings that JSON can hold, in any order."""
    return hash_parts([json.dumps(dict(settings), sort_keys=True).encode()])


def is_hash(text: str) -> bool:
    """Return whether a text can be a hash of `hash_parts`."""
    return _HASH.fullmatch(text) is not None


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
