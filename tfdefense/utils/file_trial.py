"""Trials of model files: once for each file in a process, with limits that fit its size."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from tfdefense.utils.child_trial import TrialLimits, try_in_child
from tfdefense.utils.hashing import hash_path
from tfdefense.utils.trust import trusts_model_files

_SECONDS = 120.0
_BYTES_PER_SECOND = 4 * 2**20
_MEMORY = 4 * 2**30
_MEMORY_PER_BYTE = 10

_passed: set[tuple[str, str]] = set()


def try_file(
    path: Path, work: Callable[..., object], arguments: tuple[Any, ...], place: str
) -> None:
    """Load and run a model in a child process, unless this process has tried or saved it before.

    A Python exception is no error here: loading the model in this process raises it again.

    Args:
      path: the file, or a directory of regular files.
      work: a function of a module that loads and runs the model.
      arguments: its arguments.
      place: start of error messages, such as "--classifier=FILE".

    Raises:
      UserError: the model aborts the process, crashes, or needs too much time or memory.
    """
    if trusts_model_files():
        return
    key = hash_path(path), repr(arguments)
    if key not in _passed and (key[0], "") not in _passed:
        try_in_child(work, arguments, limits_for(path), place)
        _passed.add(key)


def skip_trial(path: Path) -> None:
    """Skip later trials of a file that this process has saved itself."""
    _passed.add((hash_path(path), ""))


def limits_for(path: Path) -> TrialLimits:
    """Return the limits for a model: a constant, and more for larger files."""
    files = path.rglob("*") if path.is_dir() else [path]
    size = sum(file.stat().st_size for file in files if file.is_file())
    return TrialLimits(_SECONDS + size / _BYTES_PER_SECOND, _MEMORY + _MEMORY_PER_BYTE * size)
