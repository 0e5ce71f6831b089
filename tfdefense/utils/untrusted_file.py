"""Checks of files from strangers before their content is read."""

import json
import os
import stat
import zipfile
from pathlib import Path
from typing import Any

from tfdefense.errors import UserError, require
from tfdefense.utils.real_path import real_path

_KINDS = {
    stat.S_IFIFO: "a FIFO",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
    stat.S_IFSOCK: "a socket",
    stat.S_IFDIR: "a directory",
}
_MAX_FILES = 10_000
_MAX_DEPTH = 64
_MAX_MODEL_BYTES = 16 * 2**30
# An archive may unfold to this many bytes, or to this many times its size if that is more.
_UNFOLDED_BYTES = 2 * 2**30
_UNFOLDED_RATIO = 200
_MAX_JSON_BYTES = 64 * 2**20
_MAX_JSON_DEPTH = 100
_MODEL_REMEDY = "Copy the model without links: cp -rL. If you trust it: --unsafe_load."


def require_regular_file(path: Path, place: str) -> None:
    """Raise `UserError` unless a path is a regular file, or a link to one.

    Opening a FIFO waits for ever, and reading a device need not end.

    Args:
      path: the path.
      place: start of the error message, such as "--classifier=FILE".
    """
    try:
        kind = irregular_kind(path)
    except OSError as error:
        raise UserError(f"{place}: cannot be read ({error.strerror}).") from error
    require(not kind, f"{place}: {kind}; a regular file is needed.")


def irregular_kind(path: Path) -> str:
    """Return the kind of a path, such as "a FIFO"; "" if it is a regular file, or a link to one.

    Raises:
      OSError: there is no such path, or it cannot be read.
    """
    kind = stat.S_IFMT(os.stat(path).st_mode)
    return "" if kind == stat.S_IFREG else _KINDS.get(kind, "something else")


def require_regular_tree(
    path: Path, place: str, *, allow_links: bool = False, remedy: str = _MODEL_REMEDY
) -> None:
    """Raise `UserError` unless a directory has regular files, not too many and not too large.

    A link is followed only to another place in the directory. Otherwise a model could contain any file
    of the computer, and its copies would publish it.

    Args:
      path: the directory.
      place: start of the error message.
      allow_links: follow links to files elsewhere.
      remedy: what to do about a link to another place, for the message.
    """
    root, count, size = real_path(path), 0, 0
    waiting = [(path, 0)]
    while waiting:
        directory, depth = waiting.pop()
        require(
            depth <= _MAX_DEPTH, f"{place}: its folders are nested more than {_MAX_DEPTH} deep."
        )
        for entry in _list_directory(directory, place):
            count += 1
            require(count <= _MAX_FILES, f"{place}: holds more than {_MAX_FILES:,} files.")
            here = f"{place}: {entry.relative_to(path)}"
            is_inside = not entry.is_symlink() or real_path(entry).is_relative_to(root)
            require(
                is_inside or allow_links,
                f"{here}: a link to another place. {remedy}",
            )
            if entry.is_dir():
                waiting += [] if entry.is_symlink() else [(entry, depth + 1)]
                continue
            require_regular_file(entry, here)
            size += entry.stat().st_size
    _require_modest_size(size, place)


def _list_directory(directory: Path, place: str) -> list[Path]:
    try:
        return sorted(directory.iterdir())
    except OSError as error:
        raise UserError(f"{place}: {directory}: cannot be read ({error.strerror}).") from error


def require_modest_model(path: Path, place: str) -> None:
    """Raise `UserError` unless a model file is regular, not too large, and unfolds to a modest size.

    Args:
      path: the file.
      place: start of the error message.
    """
    require_archive_size(path, place)
    _require_modest_size(path.stat().st_size, place)


def require_modest_file(path: Path, place: str) -> None:
    """Raise `UserError` unless a file is regular, or a link to one, and not too large to be read.

    Args:
      path: the file.
      place: start of the error message.
    """
    require_regular_file(path, place)
    _require_modest_size(path.stat().st_size, place)


def _require_modest_size(size: int, place: str) -> None:
    require(
        size <= _MAX_MODEL_BYTES,
        f"{place}: {size:,} bytes; at most {_MAX_MODEL_BYTES:,} are accepted.",
    )


def require_archive_size(path: Path, place: str) -> None:
    """Raise `UserError` if a zip archive unfolds to many times its size.

    The sizes are those in its directory, which zip readers do not exceed. A damaged archive passes:
    its reader says what is wrong.

    Args:
      path: the archive.
      place: start of the error message.
    """
    require_regular_file(path, place)
    try:
        with zipfile.ZipFile(path) as archive:
            unfolded = sum(member.file_size for member in archive.infolist())
    except Exception:  # Python's zip reader has several exceptions for damage.
        return
    limit = max(_UNFOLDED_BYTES, _UNFOLDED_RATIO * path.stat().st_size)
    require(
        unfolded <= limit,
        f"{place}: {path.stat().st_size:,} bytes that unfold to {unfolded:,}; at most {limit:,} are"
        " accepted.",
    )


def read_text_file(
    path: Path,
    place: str | None = None,
    limit: int = _MAX_JSON_BYTES,
    errors: str = "strict",
) -> str:
    """Return the text of a regular UTF-8 file of at most `limit` bytes, with its own line ends.

    Args:
      path: the file.
      place: start of error messages; None means the path.
      limit: bytes.
      errors: name of Python's handler of bytes that are not UTF-8.

    Raises:
      UserError: it is missing, not a regular file, too large or not UTF-8.
    """
    place = place or str(path)
    require_regular_file(path, place)
    try:
        size = path.stat().st_size
        require(size <= limit, f"{place}: {size:,} bytes; at most {limit:,} are accepted.")
        return path.read_bytes().decode(encoding="utf-8", errors=errors)
    except UnicodeDecodeError as error:
        raise UserError(
            f"{place}: cannot be read: not UTF-8 text (byte {error.start:,})."
        ) from error
    except OSError as error:
        raise UserError(f"{place}: cannot be read ({error.strerror}).") from error


def parse_json(text: str) -> Any:
    """Return the value of a JSON text.

    Raises:
      ValueError: it is not JSON, or lists and objects are nested more than 100 deep, or a number has too
        many digits, is not finite or is not in the range of int64. A `json.JSONDecodeError` knows the
        line.
    """
    try:
        value = json.loads(text, parse_constant=_refuse_constant)
    except RecursionError as error:
        raise ValueError("nested too deep") from error
    _require_plain(value, 0)
    return value


def read_json_file(path: Path, place: str | None = None) -> Any:
    """Return the value in a JSON file; see `read_text_file` and `parse_json` for the errors."""
    return parse_json(read_text_file(path, place))


def _refuse_constant(name: str) -> None:
    raise ValueError(f"the number {name} is not allowed")


def _require_plain(value: Any, depth: int) -> None:
    if depth > _MAX_JSON_DEPTH:
        raise ValueError("nested too deep")
    if isinstance(value, int) and not -(2**63) <= value < 2**63:
        raise ValueError("a number is out of range")
    if isinstance(value, float) and abs(value) == float("inf"):
        raise ValueError("a number is out of range")
    if isinstance(value, dict | list):
        for each in value.values() if isinstance(value, dict) else value:
            _require_plain(each, depth + 1)
