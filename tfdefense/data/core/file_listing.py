"""Image files below a folder, and the files there that are left out."""

import os
from collections.abc import Sequence
from pathlib import Path

from tfdefense.errors import UserError

# Folders and files that systems and programs create, in lower case.
_SYSTEM_NAMES = frozenset(
    {
        "__macosx",
        "__pycache__",
        "@eadir",
        "@recycle",
        "#recycle",
        "#snapshot",
        "$recycle.bin",
        "system volume information",
        "lost+found",
        "thumbs.db",
        "desktop.ini",
    }
)
_NAMES_SHOWN = 10


def is_hidden(name: str) -> bool:
    """Return whether a file or folder is hidden, or one that a system or program created."""
    return name.startswith(".") or name.lower() in _SYSTEM_NAMES


def list_folders(folder: Path) -> list[Path]:
    """Return the folders in `folder` that are not hidden, by name.

    Raises:
      UserError: the folder cannot be read.
    """
    return sorted(
        path for path in _list_entries(folder) if path.is_dir() and not is_hidden(path.name)
    )


def list_files(folder: Path, suffixes: Sequence[str]) -> tuple[list[Path], list[Path]]:
    """Return the files below `folder`, at any depth, that have one of `suffixes`, and the others.

    Args:
      folder: the folder. It may itself be hidden, or a symbolic link.
      suffixes: endings of names in lower case, such as ".png". Upper case fits too.

    Returns:
      The files by path; and by path the files and folders that are left out: hidden ones, files with
      another suffix, links to folders, and what is not a regular file.

    Raises:
      UserError: a folder cannot be read.
    """
    chosen: list[Path] = []
    left_out: list[Path] = []
    folders = [folder]
    while folders:
        for path in _list_entries(folders.pop()):
            if is_hidden(path.name) or (path.is_dir() and path.is_symlink()):
                left_out.append(path)
            elif path.is_dir():
                folders.append(path)
            elif path.suffix.lower() in suffixes and path.is_file():
                chosen.append(path)
            else:
                left_out.append(path)
    return sorted(chosen), sorted(left_out)


def describe_left_out(left_out: Sequence[Path], root: Path) -> str:
    """Return a sentence that counts files and folders that are left out, and names ten of them."""
    names = [f"{path.relative_to(root)}{'/' if path.is_dir() else ''}" for path in left_out]
    return f"{_count(names)} left out (hidden, or not an image): {shorten_list(names)}."


def shorten_list(names: Sequence[str], shown: int = _NAMES_SHOWN) -> str:
    """Join names with commas; those after the first `shown` are only counted."""
    more = f" and {len(names) - shown:,} more" if len(names) > shown else ""
    return ", ".join(names[:shown]) + more


def _count(names: Sequence[str]) -> str:
    return "1 file or folder" if len(names) == 1 else f"{len(names):,} files and folders"


def _list_entries(folder: Path) -> list[Path]:
    try:
        return [folder / name for name in os.listdir(folder)]
    except OSError as error:
        raise UserError(f"{folder}: cannot be read ({error.strerror}).") from error
