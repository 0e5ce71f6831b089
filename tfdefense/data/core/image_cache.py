"""Cache of decoded images on disk, so that a second command does not decode them again.

The key of an entry is `ImageSource.fingerprint`, a hash of the bytes of the source files and of
everything else that changes pixels. So a changed file has another key. An entry is a directory:

    <key>/images.npy    uint8 [N, H, W, C]
    <key>/labels.npy    int64 [N]
    <key>/header.json   schema, key, name; and shape, dtype, length and hash of both arrays

The arrays are opened memory-mapped, and checked against the header each time, including the hashes.
A damaged entry is deleted and made again. An entry appears by one rename, so several processes can
use one cache at the same time.

Environment variables:
  TFDEFENSE_CACHE: the directory. Default: `$XDG_CACHE_HOME/tfdefense`, or else `~/.cache/tfdefense`.
  TFDEFENSE_CACHE_GIB: upper limit of its size, 20 by default. Entries beyond it are deleted, the least
    recently used first. 0 switches the cache off.

If the cache cannot be written, the images are decoded as without a cache, and one line says so.
"""

import contextlib
import json
import os
import re
import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from tfdefense.data.core.image_source import ImageSource, decode_with_progress
from tfdefense.data.core.stored_arrays import open_array, write_array
from tfdefense.errors import require
from tfdefense.utils.atomic_write import atomic_write
from tfdefense.utils.hashing import is_hash
from tfdefense.utils.progress import print_once

_SCHEMA = 1
_GIB = 2**30
_DEFAULT_GIB = "20"
_IMAGES, _LABELS = np.dtype(np.uint8), np.dtype(np.int64)
_PARTIAL = re.compile(r"[0-9a-f]{32}\..*partial")
_ABANDONED_SECONDS = 24 * 3600
# Other errors, such as too many open files, say nothing about the entry.
_INCOMPLETE = (FileNotFoundError, NotADirectoryError, IsADirectoryError)
_OTHER_PLACE = "Set TFDEFENSE_CACHE to another directory."

# Images uint8 [N, H, W, C], memory-mapped, and labels int64 [N].
Entry = tuple[np.memmap, np.ndarray]


class ImageCache:
    """Entries below one directory.

    Args:
      directory: the place of the entries; it need not exist.
      limit: upper limit of the size of all entries, in bytes.
    """

    def __init__(self, directory: Path, limit: float) -> None:
        self.directory = directory
        self.limit = limit

    @classmethod
    def from_environment(cls) -> "ImageCache | None":
        """Return the cache that the environment variables describe; None if it is switched off.

        Raises:
          UserError: TFDEFENSE_CACHE_GIB is not a number, or is negative.
        """
        text = os.environ.get("TFDEFENSE_CACHE_GIB") or _DEFAULT_GIB
        valid = re.fullmatch(r"[0-9]+(\.[0-9]*)?|\.[0-9]+", text.strip())
        require(valid, f"TFDEFENSE_CACHE_GIB={text}: a number of GiB needed, 0 for no cache.")
        place = _cache_home()
        return cls(place / "images", float(text) * _GIB) if float(text) > 0 and place else None

    def open_or_create(self, source: ImageSource) -> Entry | None:
        """Return the decoded images of `source`. If they are not stored, decode and store them.

        Returns:
          Images and labels; None if they cannot be stored. Then one line has been printed.

        Raises:
          UserError: the source has a damaged file.
        """
        try:
            key = source.fingerprint()
            entry = self._open(key, source)
            if entry is None:
                self._make_room(source)
                self._store(key, source)
                entry = self._open(key, source)
                if entry is None:
                    raise _NotStoredError("the stored entry cannot be read", _OTHER_PLACE)
        except (_NotStoredError, OSError) as error:
            reason = getattr(error, "strerror", None) or str(error)
            remedy = error.remedy if isinstance(error, _NotStoredError) else _OTHER_PLACE
            print_once(
                f"{self.directory}: cannot cache the decoded images of {source.name} ({reason})."
                f" {remedy}"
            )
            return None
        return entry

    def _open(self, key: str, source: ImageSource) -> Entry | None:
        """Return an entry after a check. Delete it and return None if it is damaged.

        Raises:
          OSError: the entry cannot be read, although it may be valid.
        """
        path = self.directory / key
        # Before it is read: another process may store the entry in the meantime.
        existed = os.path.lexists(path)
        try:
            header = json.loads((path / "header.json").read_text(encoding="utf-8"))
            require(header["schema"] == _SCHEMA and header["key"] == key, f"{path}: another key.")
            images = open_array(path / "images.npy", source.shape, _IMAGES, header["images"])
            labels = open_array(path / "labels.npy", source.shape[:1], _LABELS, header["labels"])
        except (*_INCOMPLETE, ValueError, KeyError, TypeError, RecursionError):
            if existed:
                print_once(f"{path}: damaged cache entry; its images are decoded again.")
                _delete(path)
            return None
        with contextlib.suppress(OSError):  # In a read-only cache, the time of the last use stays.
            os.utime(path / "header.json")
        return images, np.array(labels)

    def _store(self, key: str, source: ImageSource) -> None:
        """Decode the images into a new entry.

        Raises:
          OSError: the entry cannot be written.
          _NotStoredError: a file of the source changed while it was decoded.
        """
        path = self.directory / key
        try:
            with atomic_write(path) as partial:
                partial.mkdir()
                header = {"schema": _SCHEMA, "key": key, "name": source.name}
                header |= _write_arrays(partial, source)
                (partial / "header.json").write_text(
                    json.dumps(header, indent=2) + "\n", encoding="utf-8"
                )
                if source.fingerprint() != key:
                    raise _NotStoredError("its files changed", "Start the command again.")
        except OSError:
            # Perhaps another process has stored the same entry first.
            if not (path / "header.json").is_file():
                raise

    def _make_room(self, source: ImageSource) -> None:
        """Delete abandoned partial entries, and the least recently used entries beyond the limit.

        Raises:
          OSError: the directory cannot be written.
          _NotStoredError: the images do not fit.
        """
        needed = int(np.prod(source.shape))
        raise_it = f"Set TFDEFENSE_CACHE_GIB to {needed / _GIB + 0.1:.1f} or more."
        if needed > self.limit:
            raise _NotStoredError(f"they need {_in_gib(needed)}", raise_it)
        self.directory.mkdir(parents=True, exist_ok=True, mode=0o700)
        entries = []
        for path in self.directory.iterdir():
            if path.is_symlink():  # Never one of ours.
                continue
            with contextlib.suppress(OSError):  # Another process deleted it.
                files = [file.stat() for file in [path, *path.rglob("*")]]
                used = max(file.st_mtime for file in files)
                if _is_entry(path):
                    entries.append((used, sum(file.st_size for file in files), path))
                elif _PARTIAL.fullmatch(path.name) and used < time.time() - _ABANDONED_SECONDS:
                    shutil.rmtree(path)
        total = needed + sum(size for _, size, _ in entries)
        for _, size, path in sorted(entries):
            if total > self.limit:
                _delete(path)
                total -= size
        free = shutil.disk_usage(self.directory).free
        if needed > 0.95 * free:
            raise _NotStoredError(f"{_in_gib(needed)} needed, {_in_gib(free)} free", _OTHER_PLACE)


class _NotStoredError(Exception):
    """Decision against storing an entry, with a sentence on what the user can do."""

    def __init__(self, reason: str, remedy: str) -> None:
        super().__init__(reason)
        self.remedy = remedy


def _write_arrays(directory: Path, source: ImageSource) -> dict[str, Any]:
    """Decode the images into `images.npy` and `labels.npy`; return their records."""
    labels: list[np.ndarray] = []

    def image_bytes() -> Iterator[bytes]:
        for images, numbers in decode_with_progress(source):
            labels.append(np.asarray(numbers, _LABELS))
            yield np.ascontiguousarray(images, _IMAGES).tobytes()

    images = write_array(directory / "images.npy", source.shape, _IMAGES, image_bytes())
    content = [part.tobytes() for part in labels]
    return {
        "images": images,
        "labels": write_array(directory / "labels.npy", source.shape[:1], _LABELS, content),
    }


def _is_entry(path: Path) -> bool:
    """Return whether a directory is an entry of a cache, and not a folder of the user."""
    if not is_hash(path.name):
        return False
    try:
        header = json.loads((path / "header.json").read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return False
    return isinstance(header, dict) and header.get("key") == path.name


def _delete(path: Path) -> None:
    """Delete an entry; a rename first, so that no process opens the half of it."""
    doomed = path.with_name(f"{path.name}.{os.getpid()}.deleted.partial")
    with contextlib.suppress(OSError):
        path.rename(doomed)
        if doomed.is_dir() and not doomed.is_symlink():
            shutil.rmtree(doomed)
        else:
            doomed.unlink()


def _cache_home() -> Path | None:
    """Return the directory of all caches of this library; None if the user has no home."""
    if given := os.environ.get("TFDEFENSE_CACHE"):
        return Path(given).expanduser()
    shared = Path(os.environ.get("XDG_CACHE_HOME", ""))
    if shared.is_absolute():  # Its specification says to ignore a relative one.
        return shared / "tfdefense"
    try:
        return Path.home() / ".cache" / "tfdefense"
    except RuntimeError:
        return None


def _in_gib(size: float) -> str:
    return f"{size / _GIB:.1f} GiB"
