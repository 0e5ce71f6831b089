"""One maker for each artefact, among machines that share a folder; the lease of a machine that died runs out."""

import contextlib
import json
import os
import platform
import threading
import time
import uuid
from collections.abc import Iterator
from pathlib import Path

BEAT_SECONDS = 15.0
DEAD_AFTER_SECONDS = 120.0


@contextlib.contextmanager
def lease(path: Path) -> Iterator[bool]:
    """Whether this process may make what lies at `path`, until the block ends.

    A file beside it says so to others. It is touched every few seconds; who has not touched it for two minutes is dead, and
    the next one takes over (on the same machine at once). Unlike a lock of the system's it holds on network file systems too, whose clock alone is asked.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    file = path.with_name(f"{path.name}.lease")
    if not _taken(file) and not (_is_dead(file) and _put_aside(file) and _taken(file)):
        yield False
        return
    about, done = file.read_text(), threading.Event()
    beating = threading.Thread(target=_beat, args=(file, about, done), daemon=True)
    beating.start()
    try:
        yield True
    finally:
        done.set()
        beating.join()
        if _is_ours(file, about):
            file.unlink(missing_ok=True)


def _taken(file: Path) -> bool:
    """Makes the file, if there is none yet."""
    try:
        handle = os.open(file, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o644)
    except FileExistsError:
        return False
    with os.fdopen(handle, "w") as opened:
        about = {"host": platform.node(), "machine": _machine(), "process": os.getpid()}
        json.dump({**about, "lease": uuid.uuid4().hex}, opened)
    return True


def _is_ours(file: Path, about: str) -> bool:
    """Whether the file is still the one that was made: who was thought dead must not touch another's."""
    with contextlib.suppress(OSError):
        return file.read_text() == about
    return False


def _machine() -> str:
    """What tells this machine, and this container on it, from others; "" where the system does not say."""
    with contextlib.suppress(OSError):
        booted = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        return f"{booted} {os.readlink('/proc/self/ns/pid')}"
    return ""


def _has_ended(file: Path) -> bool:
    """Whether a process of this very machine held it, and is no more."""
    with contextlib.suppress(OSError, ValueError, KeyError, TypeError):
        about = json.loads(file.read_text())
        if about["machine"] and about["machine"] == _machine():
            return not Path(f"/proc/{int(about['process'])}").exists()
    return False


def _is_dead(file: Path) -> bool:
    if _has_ended(file):
        return True
    probe = file.with_name(f"{file.name}.{platform.node()}.{os.getpid()}.clock")
    try:
        probe.touch()
        return probe.stat().st_mtime - file.stat().st_mtime > DEAD_AFTER_SECONDS
    except FileNotFoundError:  # It was given back a moment ago.
        return False
    finally:
        probe.unlink(missing_ok=True)


def _put_aside(file: Path) -> bool:
    """Takes a dead lease away; of several who try, one succeeds."""
    aside = file.with_name(
        f"{file.name}.{platform.node()}.{os.getpid()}.{time.monotonic_ns()}.dead"
    )
    try:
        os.rename(file, aside)
    except FileNotFoundError:
        return False
    # Between the look at its age and now another may have taken over: then what was taken away is alive.
    if not _is_dead(aside):
        with contextlib.suppress(FileExistsError):
            os.link(aside, file)
        aside.unlink()
        return False
    aside.unlink()
    return True


def _beat(file: Path, about: str, done: threading.Event) -> None:
    while not done.wait(BEAT_SECONDS):
        with contextlib.suppress(OSError):
            if _is_ours(file, about):
                os.utime(file)
