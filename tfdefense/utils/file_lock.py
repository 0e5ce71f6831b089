"""Lock that keeps other processes out of a directory."""

import contextlib
import fcntl
import os
from pathlib import Path

from tfdefense.errors import DirectoryLockedError

# (device, inode) of a lock file -> its open handle. The operating system releases the lock when
# the process ends, whatever the reason.
_held: dict[tuple[int, int], int] = {}


def lock_directory(directory: Path, flag: str) -> None:
    """Lock an existing directory until `release_directory` or until this process ends.

    If this process has the lock already, nothing happens. On a file system without locks nothing
    happens either.

    Args:
      directory: the directory, which must exist.
      flag: the command-line flag that named it, for the error message.

    Raises:
      DirectoryLockedError: another process has the lock.
    """
    handle = os.open(directory / ".lock", os.O_RDWR | os.O_CREAT, 0o644)
    status = os.fstat(handle)
    file = status.st_dev, status.st_ino
    if file in _held:
        os.close(handle)
        return
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        owner = os.pread(handle, 20, 0).decode(errors="replace").strip() or "?"
        os.close(handle)
        raise DirectoryLockedError(
            f"--{flag}={directory}: in use by another process (process ID {owner}). Wait for it, or"
            f" name another directory with --{flag}."
        ) from None
    except OSError:  # A file system without locks.
        os.close(handle)
        return
    _held[file] = handle
    # If the disk is full, the lock works, but its file does not contain the process ID.
    with contextlib.suppress(OSError):
        os.ftruncate(handle, 0)
        os.pwrite(handle, str(os.getpid()).encode(), 0)


def release_directory(directory: Path) -> None:
    """Release the lock of this process on a directory, if there is one."""
    with contextlib.suppress(FileNotFoundError, NotADirectoryError):
        status = os.stat(directory / ".lock")
        handle = _held.pop((status.st_dev, status.st_ino), None)
        if handle is not None:
            os.close(handle)
