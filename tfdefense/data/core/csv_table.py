"""Tables of file names and labels in CSV files."""

import csv
import re
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from tfdefense.data.core.class_labels import parse_numbers
from tfdefense.data.core.file_listing import shorten_list
from tfdefense.errors import UserError, cut_text, require
from tfdefense.utils.progress import print_once

# Column -> its usual names, in lower case without spaces, "_" and "-".
_COLUMNS = {
    "file": (
        *("filename", "file", "filepath", "path", "imagepath", "imagename", "imagefile", "image"),
        *("img", "imageid", "name", "id"),
    ),
    "label": (
        *("label", "labels", "class", "target", "category", "classid", "y", "diagnosis"),
        *("classname", "labelname"),
    ),
    "class_name": ("classname", "labelname", "categoryname"),
    "split": ("split", "subset", "set", "partition", "fold", "usage"),
}
_MAX_BYTES = 2**27  # Short lines need fifty times as much memory.
_DELIMITERS = ",;\t|"


class CsvRow(NamedTuple):
    """One line of a table.

    Attributes:
      line: its number in the file, from 1.
      file: name of an image file.
      label: class number or name, never "".
      class_name: name of the class if the table has it next to a class number, else "".
      split: name of the split, or "".
    """

    line: int
    file: str
    label: str
    class_name: str
    split: str


def read_table(path: Path, name: str) -> list[CsvRow]:
    """Read a CSV file with the columns file name and label, and optionally class name and split.

    Columns are found by their names in the first line: `filename`, `file`, `path`, `image` or `id`;
    `label`, `class`, `target` or `category`; `class_name`; `split`. Without such a line, the first
    column has the file names and the second one the labels. Commas, semicolons, tabs and vertical
    bars separate columns. If one column has class numbers from 0 and another one their names, the
    numbers are the labels. The file is UTF-8, with or without a byte order mark.

    Args:
      path: the file.
      name: the dataset as given on the command line, for error messages.

    Raises:
      UserError: the file cannot be read, is not UTF-8, has no lines or no such columns, or a line
        lacks a file name or label.
    """
    try:
        size = path.stat().st_size
        require(
            size <= _MAX_BYTES,
            f"--dataset={name}: {size:,} bytes; at most {_MAX_BYTES:,} are accepted.",
        )
        text = path.read_text(encoding="utf-8-sig")
        # A separator inside the first name would be quoted, so the first line tells it.
        header = text.partition("\n")[0]
        delimiter = max(_DELIMITERS, key=header.count)
        lines = [
            (number, [cell.strip() for cell in cells])
            for number, cells in _numbered(text, delimiter)
            if any(cell.strip() for cell in cells)
        ]
    except OSError as error:
        raise UserError(f"--dataset={name}: cannot be read ({error.strerror}).") from error
    except UnicodeDecodeError as error:
        raise UserError(
            f"--dataset={name}: is not UTF-8 (byte {error.start:,}). Save it as UTF-8."
        ) from error
    except csv.Error as error:
        raise UserError(f"--dataset={name}: is not a CSV file ({error}).") from error
    require(lines, f"--dataset={name}: is empty.")
    columns = _find_columns(lines[0][1], name)
    rows = lines if columns is None else lines[1:]
    require(rows, f"--dataset={name}: has no lines after its header.")
    if columns is None:
        columns = {"file": 0, "label": 1}
    else:
        columns = _choose_labels(columns, lines[0][1], [cells for _, cells in rows], name)
    return [_read_row(number, cells, columns, name) for number, cells in rows]


def _numbered(text: str, delimiter: str) -> list[tuple[int, list[str]]]:
    reader = csv.reader(text.splitlines(keepends=True), delimiter=delimiter, strict=True)
    return [(reader.line_num, cells) for cells in reader]


def _find_columns(header: Sequence[str], name: str) -> dict[str, int] | None:
    """Return column -> its index; None if the first line is not a header."""
    words = _simplify(header)
    found: dict[str, int] = {}
    for column, names in _COLUMNS.items():
        index = next((words.index(each) for each in names if each in words), None)
        if index is not None:
            found[column] = index
    if "file" in found and "label" in found:
        return found
    require(
        not found and len(header) >= 2,
        f"--dataset={name}: its first line is {','.join(header)!r}; a column filename and a column label"
        " are needed.",
    )
    return None


def _simplify(header: Sequence[str]) -> list[str]:
    """Return the names of columns as `_COLUMNS` has them."""
    return [re.sub(r"[\s_-]+", "", cell.lower()) for cell in header]


def _choose_labels(
    columns: dict[str, int], header: Sequence[str], rows: Sequence[Sequence[str]], name: str
) -> dict[str, int]:
    """Return the columns, where class numbers are the labels if one column has them and one names.

    Alphabetical numbers of the names could differ from the numbers, which are those of the model. If
    other columns may be labels too, one line names them.
    """
    words = _simplify(header)
    usual = [each for each in _COLUMNS["label"] if each not in _COLUMNS["class_name"]]
    found = [words.index(each) for each in usual if each in words]
    cells = {i: [row[i] if i < len(row) else "" for row in rows] for i in found}
    label = columns["label"]
    pairs = [pair for other in found if other != label for pair in ((label, other), (other, label))]
    for numbers, names in pairs:
        if _are_named(cells[numbers], cells[names]):
            columns = {"class_name": names, **columns, "label": numbers}
            label = numbers
            found.remove(names)
            break
    others = [header[i] for i in found if i != label and cells[i] != cells[label]]
    if others:
        print_once(
            f"--dataset={name}: labels are those of the column {cut_text(header[label])!r};"
            f" {shorten_list([cut_text(repr(each)) for each in others])} may be labels too. If they are the"
            " right ones, delete the other column."
        )
    return columns


def _are_named(labels: Sequence[str], names: Sequence[str]) -> bool:
    """Return whether labels are class numbers 0, 1, ... and names those of the classes."""
    numbers = parse_numbers(labels)
    if numbers is None or not any(names) or parse_numbers(names) is not None:
        return False
    known = dict(zip(numbers.tolist(), names, strict=True))
    pairs = set(zip(numbers.tolist(), names, strict=True))
    return len(pairs) == len(known) == 1 + max(known)


def _read_row(number: int, cells: Sequence[str], columns: dict[str, int], name: str) -> CsvRow:
    values = {column: cells[i] if i < len(cells) else "" for column, i in columns.items()}
    for column in ("file", "label"):
        require(values[column], f"--dataset={name}: line {number} has no {column}.")
    file = values["file"].replace("\\", "/")
    class_name, split = values.get("class_name", ""), values.get("split", "")
    return CsvRow(number, file, values["label"], class_name, split)
