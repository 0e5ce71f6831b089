"""Hashes of many files, for fingerprints of image sources."""

import hashlib
import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor

from tfdefense.utils.progress import ProgressBar

_THREADS = 4
_MAX_IMAGE_BYTES = 2**31


def hash_files(
    paths: Sequence[str | os.PathLike[str]],
    image_counts: Sequence[int],
    title: str,
    hash_file: Callable[[str | os.PathLike[str]], bytes],
) -> list[bytes]:
    """Return the hash of each file.

    Args:
      paths: the files.
      image_counts: the number of images in each file, for the progress bar.
      title: name of the progress bar.
      hash_file: function of a path, called in several threads.

    Raises:
      OSError: a file cannot be read.
    """
    hashes = []
    with ProgressBar(title, sum(image_counts)) as progress, ThreadPoolExecutor(_THREADS) as threads:
        for digest, count in zip(threads.map(hash_file, paths), image_counts, strict=True):
            hashes.append(digest)
            progress.advance(count)
    return hashes


def hash_bytes(path: str | os.PathLike[str]) -> bytes:
    """Return the BLAKE2b hash of the bytes of a file, 64 bytes; raise `OSError` if it is unreadable."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, hashlib.blake2b).digest()


def hash_image(path: str | os.PathLike[str]) -> bytes:
    """Return `hash_bytes`; of 2 GiB or more, which is no image, only the size is hashed."""
    size = os.stat(path).st_size
    if size >= _MAX_IMAGE_BYTES:
        return hashlib.blake2b(f"{size} bytes".encode()).digest()
    return hash_bytes(path)


def hash_image_or_error(path: str | os.PathLike[str]) -> bytes:
    """Return `hash_image`, or a hash of the name and the error of a file that cannot be read."""
    try:
        return hash_image(path)
    except OSError as error:
        return hashlib.blake2b(
            f"{os.path.basename(path)}: {error.errno}".encode("utf-8", "surrogateescape")
        ).digest()
