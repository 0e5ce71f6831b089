"""Absolute paths without links."""

import os
from pathlib import Path


def real_path(path: str | Path) -> Path:
    """Return the absolute path without links; a link that leads to itself stays.

    `Path.resolve` raises `RuntimeError` for such a link before Python 3.13.
    """
    return Path(os.path.realpath(path))
