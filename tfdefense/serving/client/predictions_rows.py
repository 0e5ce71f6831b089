"""Lines of `predictions.csv`: how they are read, marked and written."""

import csv
import io
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, TextIO

from tfdefense.errors import UserError, require
from tfdefense.utils.csv_cells import escape_row, unescape_cell
from tfdefense.utils.untrusted_file import read_text_file

FILE = "predictions.csv"
ERRORS = "surrogateescape"  # File names that are not valid UTF-8 keep their bytes.
COLUMNS = (
    "file",
    "index",
    "model",
    "class",
    "class_name",
    "probability",
    "perturbation_norm",
    "suspicion",
    "alarm",
    "refused",
    "source_hash",
)
_MAX_BYTES = 2**30

# Columns of all versions of this file.
_ALWAYS = frozenset({"file", "model"})

Row = dict[str, str]


def read_rows(directory: Path) -> list[Row]:
    """Return the lines of `predictions.csv` in a directory; none without a file.

    Lines of older versions lack columns. A last line that a killed call left incomplete is dropped.

    Raises:
      UserError: the file is damaged, too large, or another table.
    """
    path = directory / FILE
    if not path.is_file():
        return []
    lines = io.StringIO(read_text_file(path, limit=_MAX_BYTES, errors=ERRORS), newline="")
    try:
        reader = csv.DictReader(lines)
        require(
            set(reader.fieldnames or _ALWAYS) >= _ALWAYS,
            f"{path}: bin/purify did not write it. Give another folder, or --overwrite to replace it.",
        )
        rows = list(reader)
    except csv.Error as error:
        raise UserError(f"{path}: damaged ({error}). Remove it, or give --overwrite.") from error
    if rows and None in rows[-1].values():  # Its last cell may be cut, such as the model's name.
        rows.pop()
    return [
        {name: unescape_cell(value) for name, value in row.items() if isinstance(value, str)}
        for row in rows
    ]


def read_stored(directory: Path, *, overwrite: bool) -> list[Row]:
    """Return `read_rows`; none if the file is damaged and replaced anyway."""
    try:
        return read_rows(directory)
    except UserError:
        if not overwrite:
            raise
        return []


def group_by_file(rows: Iterable[Row]) -> dict[str, list[Row]]:
    """Return file -> its lines, without the marked ones if the file was purified again since."""
    groups: dict[str, list[Row]] = {}
    for row in rows:
        groups.setdefault(row.get("file", ""), []).append(row)
    return {
        file: [row for row in group if row.get("source_hash")] or group
        for file, group in groups.items()
    }


def is_complete(row: Mapping[str, str]) -> bool:
    """Return whether a line is not marked and has all columns of this version, and no wrong suspicion."""
    has_columns = row.keys() == set(COLUMNS) and bool(row["source_hash"])
    return has_columns and _is_suspicion(row["suspicion"])


def mark_unfinished(row: Mapping[str, str]) -> Row:
    """Return a line with the columns of this version and an empty `source_hash`.

    It marks a file that `bin/purify` wrote and purifies again, also with an older version.
    """
    marked = {name: row.get(name, "") for name in COLUMNS} | {"source_hash": ""}
    return marked if _is_suspicion(marked["suspicion"]) else marked | {"suspicion": ""}


def is_marked(row: Mapping[str, str]) -> bool:
    """Return whether `mark_unfinished` made a line; lines of older versions have no such column."""
    return row.get("source_hash") == ""


def write_rows(file: TextIO, rows: Iterable[Mapping[str, Any]]) -> None:
    """Append lines to an open file; texts that a spreadsheet would compute are escaped.

    Raises:
      OSError: the file cannot be written.
    """
    plain = csv.DictWriter(file, COLUMNS, lineterminator="\n")
    quoted = csv.DictWriter(file, COLUMNS, lineterminator="\n", quoting=csv.QUOTE_ALL)
    for row in rows:
        # Python's writer leaves a carriage return as it is, and its reader ends the line there.
        has_return = any("\r" in str(value) for value in row.values())
        (quoted if has_return else plain).writerow(escape_row(row))


def _is_suspicion(text: str) -> bool:
    """Return whether a cell is a number in [0, 1], or empty."""
    try:
        return not text or 0 <= float(text) <= 1
    except ValueError:
        return False
