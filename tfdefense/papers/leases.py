"""Leases: one process at a time makes a target in a folder that several machines share.

A lease is a file whose modification time its holder renews. Unlike a lock of the operating system
it also works on network file systems. All ages are measured with the clock of the file system,
because machine clocks differ.
"""

import contextlib
import json
import os
import platform
import threading
import time
import uuid
from collections.abc import Iterator
from pathlib import Path

from tfdefense.utils.untrusted_file import read_json_file

RENEW_SECONDS = 15.0
DEAD_AFTER_SECONDS = 120.0


@contextlib.contextmanager
def lease(path: Path) -> Iterator[bool]:
    """Try to lease `path` for the block; yield True if this process holds the lease.

    The lease is the file `<path>.lease`. A lease that was not renewed for two minutes, or is dated
    more than two minutes in the future, is dead, and the next process takes it over. On the machine
    of its holder it is dead as soon as the holder's process has ended.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    file = path.with_name(f"{path.name}.lease")
    if not _create(file) and not (_is_dead(file) and _remove_dead(file) and _create(file)):
        yield False
        return
    content, finished = file.read_text(encoding="utf-8"), threading.Event()
    renewer = threading.Thread(target=_renew, args=(file, content, finished), daemon=True)
    renewer.start()
    try:
        yield True
    finally:
        finished.set()
        renewer.join()
        if _is_ours(file, content):
            file.unlink(missing_ok=True)


def _create(file: Path) -> bool:
    """Create the lease file; return False if it exists."""
    try:
        handle = os.open(file, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o644)
    except FileExistsError:
        return False
    with os.fdopen(handle, "w", encoding="utf-8") as opened:
        holder = {"host": platform.node(), "machine": _machine_id(), "process": os.getpid()}
        json.dump({**holder, "lease": uuid.uuid4().hex}, opened)
    return True


def _is_ours(file: Path, content: str) -> bool:
    """Return False if another process has taken over the lease of this slow holder."""
    with contextlib.suppress(OSError):
        return file.read_text(encoding="utf-8") == content
    return False


def _machine_id() -> str:
    """Return a text unique to this machine and container; "" if the system has none."""
    with contextlib.suppress(OSError):
        boot_id = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="utf-8").strip()
        return f"{boot_id} {os.readlink('/proc/self/ns/pid')}"
    return ""


def _holder_has_ended(file: Path) -> bool:
    """Return True if the holder was a process of this machine and no longer exists."""
    with contextlib.suppress(OSError, ValueError, KeyError, TypeError):
        holder = read_json_file(file)
        if holder["machine"] and holder["machine"] == _machine_id():
            return not Path(f"/proc/{int(holder['process'])}").exists()
    return False


def _is_dead(file: Path) -> bool:
    if _holder_has_ended(file):
        return True
    # A new file shows the file system's current time.
    probe = file.with_name(f"{file.name}.{platform.node()}.{os.getpid()}.clock")
    try:
        probe.touch()
        # A lease that is dated in the future is dead too: its holder would never seem late.
        return abs(probe.stat().st_mtime - file.stat().st_mtime) > DEAD_AFTER_SECONDS
    except FileNotFoundError:  # The holder has just released it.
        return False
    finally:
        probe.unlink(missing_ok=True)


def _remove_dead(file: Path) -> bool:
    """Remove a dead lease; return True in only one of several processes that try."""
    removed = file.with_name(
        f"{file.name}.{platform.node()}.{os.getpid()}.{time.monotonic_ns()}.dead"
    )
    try:
        os.rename(file, removed)
    except FileNotFoundError:
        return False
    # Another process may have taken the lease over since its age was read: put a live lease back.
    if not _is_dead(removed):
        with contextlib.suppress(FileExistsError):
            os.link(removed, file)
        removed.unlink()
        return False
    removed.unlink()
    return True


def _renew(file: Path, content: str, finished: threading.Event) -> None:
    while not finished.wait(RENEW_SECONDS):
        with contextlib.suppress(OSError):
            if _is_ours(file, content):
                os.utime(file)
