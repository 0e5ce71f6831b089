"""Directories and values that are dear to make, and that the processes of one test run share."""

import fcntl
import os
import pickle
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import pytest

Value = TypeVar("Value")


def shared_directory(factory: pytest.TempPathFactory) -> Path:
    """Return the temporary directory of the whole test run.

    Args:
      factory: the fixture `tmp_path_factory`.
    """
    base = factory.getbasetemp()
    # Each process of pytest-xdist has a directory of its own inside.
    return base.parent if "PYTEST_XDIST_WORKER" in os.environ else base


def make_once(factory: pytest.TempPathFactory, name: str, make: Callable[[Path], object]) -> Path:
    """Return a directory that one process of the test run fills; the other processes wait for it.

    Tests must not write into the directory. A test that writes takes a copy.

    Args:
      factory: the fixture `tmp_path_factory`.
      name: the name of the directory, unique among all tests.
      make: fills the new directory that it is given. If it raises, the next caller tries again.
    """
    base = shared_directory(factory)
    finished, unfinished = base / name, base / f"{name}.unfinished"
    with (base / f"{name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not finished.exists():
            shutil.rmtree(unfinished, ignore_errors=True)
            unfinished.mkdir()
            make(unfinished)
            unfinished.rename(finished)
    return finished


def compute_once(factory: pytest.TempPathFactory, name: str, compute: Callable[[], Value]) -> Value:
    """Return a value that one process of the test run computes and the others read.

    Args:
      factory: the fixture `tmp_path_factory`.
      name: the name of the value, unique among all tests.
      compute: returns the value, which can be pickled.
    """

    def make(directory: Path) -> None:
        (directory / "value").write_bytes(pickle.dumps(compute()))

    return pickle.loads((make_once(factory, name, make) / "value").read_bytes())
