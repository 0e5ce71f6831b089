"""Files that are written whole or not at all."""

import contextlib
import os
import shutil
from collections.abc import Iterator
from pathlib import Path


@contextlib.contextmanager
def atomic_write(path: Path) -> Iterator[Path]:
    """A place to write the file `path` to, which gets its name when the block ends, and is gone if that fails.

    It has the file's own name, by whose ending some writers go.
    """
    directory = path.with_name(f"{path.name}.{os.getpid()}.partial")
    try:
        directory.mkdir(exist_ok=True)
        yield directory / path.name
        os.replace(directory / path.name, path)
    finally:
        shutil.rmtree(directory, ignore_errors=True)
