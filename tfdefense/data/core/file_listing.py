"""Image files below a folder, and the files there that are left out."""

import os
from collections.abc import Sequence
from pathlib import Path

from tfdefense.errors import UserError, cut_text, require

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
# A folder with more other files than this, and more than images, is not one of images.
_MAX_LEFT_OUT = 100_000
_MAX_DEPTH = 64


def is_hidden(name: str) -> bool:
    """Return whether a file or folder is hidden, or one that a system or program created."""
    return name.startswith(".") or name.lower() in _SYSTEM_NAMES


def list_folders(folder: Path) -> list[Path]:
    """Return the folders in `folder` that are not hidden, by name.

    Raises:
      UserError: the folder cannot be read.
    """
    return sorted(
        path for path in _list_entries(folder) if not is_hidden(path.name) and _is_folder(path)
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
      UserError: a folder cannot be read, folders are nested too deep, or most of very many files are
        left out, as in a folder of a system.
    """
    chosen: list[Path] = []
    left_out: list[Path] = []
    folders = [(folder, 0)]
    while folders:
        inside, depth = folders.pop()
        require(
            depth <= _MAX_DEPTH,
            f"{folder}: its folders are nested more than {_MAX_DEPTH} deep: a folder of images is not.",
        )
        for path in _list_entries(inside):
            if is_hidden(path.name) or (path.is_symlink() and _is_folder(path)):
                left_out.append(path)
            elif _is_folder(path):
                folders.append((path, depth + 1))
            elif path.suffix.lower() in suffixes and path.is_file():
                chosen.append(path)
            else:
                left_out.append(path)
        require(
            len(left_out) <= max(_MAX_LEFT_OUT, len(chosen)),
            f"{folder}: holds {len(left_out):,} files that are not images, and {len(chosen):,} images. Give"
            " a folder of images.",
        )
    return sorted(chosen), sorted(left_out)


def describe_left_out(
    left_out: Sequence[Path], root: Path, reason: str = "hidden, or not an image"
) -> str:
    """Return a sentence that counts files and folders that are left out, and names ten of them."""
    names = [f"{path.relative_to(root)}{'/' if path.is_dir() else ''}" for path in left_out]
    return f"{_count(names)} left out ({reason}): {shorten_list(names)}."


def shorten_list(names: Sequence[str], shown: int = _NAMES_SHOWN) -> str:
    """Join names with commas; those after the first `shown` are only counted."""
    more = f" and {len(names) - shown:,} more" if len(names) > shown else ""
    return ", ".join(names[:shown]) + more


def _count(names: Sequence[str]) -> str:
    return "1 file or folder" if len(names) == 1 else f"{len(names):,} files and folders"


def _is_folder(path: Path) -> bool:
    """Return whether a path is a folder, or a link to one.

    Raises:
      UserError: the folder that it is in may not be read.
    """
    try:
        return path.is_dir()
    except OSError as error:
        raise UserError(f"{cut_text(str(path))}: cannot be read ({error.strerror}).") from error


def _list_entries(folder: Path) -> list[Path]:
    try:
        return [folder / name for name in os.listdir(folder)]
    except OSError as error:
        raise UserError(f"{cut_text(str(folder))}: cannot be read ({error.strerror}).") from error
