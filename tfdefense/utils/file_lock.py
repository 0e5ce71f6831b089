"""One process at a time in a run directory."""

import contextlib
import fcntl
import os
from pathlib import Path

from tfdefense.errors import Locked

# Held until released, or until the process ends, however it ends: the system lets go of them.
_held: dict[tuple[int, int], int] = {}


def lock_directory(directory: Path, flag: str) -> None:
    """Keeps other processes out of a directory that exists; again from the same process, nothing happens.

    Raises:
      Locked: another process is in it.
    """
    handle = os.open(directory / ".lock", os.O_RDWR | os.O_CREAT, 0o644)
    about = os.fstat(handle)
    file = about.st_dev, about.st_ino
    if file in _held:
        os.close(handle)
        return
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        owner = os.pread(handle, 20, 0).decode(errors="replace").strip() or "?"
        os.close(handle)
        raise Locked(
            f"--{flag}={directory}: another process (number {owner}) works in it. Wait for it, or name another."
        ) from None
    except OSError:  # A file system without locks.
        os.close(handle)
        return
    _held[file] = handle
    # On a full disk the lock holds, though it does not say whose it is.
    with contextlib.suppress(OSError):
        os.ftruncate(handle, 0)
        os.pwrite(handle, str(os.getpid()).encode(), 0)


def release_directory(directory: Path) -> None:
    """Lets other processes into a directory; nothing where it is not held."""
    with contextlib.suppress(FileNotFoundError, NotADirectoryError):
        about = os.stat(directory / ".lock")
        handle = _held.pop((about.st_dev, about.st_ino), None)
        if handle is not None:
            os.close(handle)
