"""Lock that keeps other processes out of a directory."""

import contextlib
import errno
import fcntl
import os
import stat
from pathlib import Path

from tfdefense.errors import DirectoryLockedError, UserError

_LONGEST_ID = 20  # Of a process, in digits.
# (device, inode) of a lock file -> its open handle. The operating system releases the lock when
# the process ends, whatever the reason.
_held: dict[tuple[int, int], int] = {}


def lock_directory(directory: Path, flag: str) -> bool:
    """Lock an existing directory until `release_directory` or until this process ends.

    If this process has the lock already, nothing happens. On a file system without locks nothing
    happens either.

    Args:
      directory: the directory, which must exist.
      flag: the command-line flag that named it, for the error message.

    Returns:
      Whether this call locked it, so that no process can be writing into it.

    Raises:
      DirectoryLockedError: another process has the lock.
      UserError: the lock file is a link, not a regular file or not a lock file, or a folder in the
        directory is a link.
    """
    require_own_folders(directory, flag)
    irregular = UserError(
        f"--{flag}={directory}: {directory / '.lock'} is not a regular file. Remove it."
    )
    try:
        # A link would make this process write its ID into the file that the link names.
        options = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK
        handle = os.open(directory / ".lock", options, 0o644)
    except OSError as error:
        if error.errno not in (errno.ELOOP, errno.EISDIR, errno.ENXIO):
            raise
        raise irregular from error
    status = os.fstat(handle)
    if not stat.S_ISREG(status.st_mode):
        os.close(handle)
        raise irregular
    file = status.st_dev, status.st_ino
    content = os.pread(handle, _LONGEST_ID, 0).strip(b"\0 \n")  # Zeros after a power failure.
    # A file with several links is not written below.
    if content and not content.isdigit() and status.st_nlink == 1:
        os.close(handle)
        raise UserError(
            f"--{flag}={directory}: {directory / '.lock'} is a file of another program, and would be"
            f" replaced. Remove it, or name another directory with --{flag}."
        )
    if file in _held:
        os.close(handle)
        return False
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        owner = content.decode() or "unknown"
        os.close(handle)
        raise DirectoryLockedError(
            f"--{flag}={directory}: in use by another process (process ID {owner}). Wait for it, or"
            f" name another directory with --{flag}."
        ) from None
    except OSError:  # A file system without locks.
        os.close(handle)
        return False
    if not _names(directory / ".lock", file):  # Removed by its last owner, or replaced since.
        os.close(handle)
        return lock_directory(directory, flag)
    _held[file] = handle
    # The file may be shared with a copy of the directory by hard links, or be another file of the user.
    if status.st_nlink == 1:
        # If the disk is full, the lock works, but its file does not contain the process ID.
        with contextlib.suppress(OSError):
            os.ftruncate(handle, 0)
            os.pwrite(handle, str(os.getpid()).encode(), 0)
    return True


def _names(path: Path, file: tuple[int, int]) -> bool:
    """Return whether a path is that of a file, given as (device, inode)."""
    try:
        status = os.lstat(path)
    except FileNotFoundError:
        return False
    return (status.st_dev, status.st_ino) == file


def require_own_folders(directory: Path, flag: str) -> None:
    """Raise `UserError` if a folder in a directory is a link: files in it would be written elsewhere.

    Args:
      directory: the directory, which need not exist.
      flag: the command-line flag that named it, for the error message.
    """
    entries = sorted(directory.iterdir()) if directory.is_dir() else []
    folders = [
        path for path in entries if path.is_symlink() and (path.is_dir() or not path.exists())
    ]
    if folders:
        raise UserError(
            f"--{flag}={directory}: {folders[0]} is a link to another place. Remove it, or move the folder"
            " here."
        )


def release_directory(directory: Path, *, remove: bool = False) -> None:
    """Release the lock of this process on a directory, if there is one.

    Args:
      directory: the directory.
      remove: also remove the lock file.
    """
    try:
        status = os.lstat(directory / ".lock")
    except OSError:  # Such as a directory that does not exist, or a link to itself.
        return
    handle = _held.pop((status.st_dev, status.st_ino), None)
    if handle is not None:
        if remove:
            (directory / ".lock").unlink(missing_ok=True)
        os.close(handle)
