"""Hashes of many files, for fingerprints of image sources."""

import hashlib
import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

from tfdefense.utils.progress import ProgressBar

_THREADS = 4
_MAX_BYTES = 2**31


def hash_files(
    paths: Sequence[str | os.PathLike[str]], image_counts: Sequence[int], title: str
) -> list[bytes]:
    """Return the BLAKE2b hash of the bytes of each file, 64 bytes each.

    Of files of 2 GiB or more, which are not images, only the size is hashed.

    Args:
      paths: the files.
      image_counts: the number of images in each file, for the progress bar.
      title: name of the progress bar.

    Raises:
      OSError: a file cannot be read.
    """
    hashes = []
    with ProgressBar(title, sum(image_counts)) as progress, ThreadPoolExecutor(_THREADS) as threads:
        for digest, count in zip(threads.map(_hash_file, paths), image_counts, strict=True):
            hashes.append(digest)
            progress.advance(count)
    return hashes


def _hash_file(path: str | os.PathLike[str]) -> bytes:
    size = os.stat(path).st_size
    if size >= _MAX_BYTES:
        return hashlib.blake2b(f"{size} bytes".encode()).digest()
    with open(path, "rb") as file:
        return hashlib.file_digest(file, hashlib.blake2b).digest()
