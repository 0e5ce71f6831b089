"""`predictions.csv`: one line per purified image, which also marks a file as finished."""

import contextlib
import csv
import io
import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, TextIO

import numpy as np

from tfdefense.errors import UserError, require
from tfdefense.serving.client.model_client import ModelClient
from tfdefense.serving.client.purify_settings import PurifySettings
from tfdefense.utils.atomic_write import atomic_write
from tfdefense.utils.csv_cells import escape_row, unescape_cell
from tfdefense.utils.hashing import hash_parts
from tfdefense.utils.untrusted_file import irregular_kind, read_text_file
from tfdefense.utils.visible_text import visible_text

FILE = "predictions.csv"
_ERRORS = "surrogateescape"  # File names that are not valid UTF-8 keep their bytes.
_MAX_BYTES = 2**30
_MAX_SOURCE_BYTES = 16 * 2**30
_COLUMNS = (
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

# Columns of all versions of this file.
_ALWAYS = frozenset({"file", "model"})


def hash_source(path: Path) -> str:
    """Return the hash of the bytes of a file that is to be purified.

    Raises:
      OSError: the file cannot be read.
      UserError: it is not a regular file, or too large; the message has no path.
    """
    kind, size = irregular_kind(path), path.stat().st_size
    require(not kind, f"{kind}; a regular file is needed")
    require(
        size <= _MAX_SOURCE_BYTES, f"{size:,} bytes; at most {_MAX_SOURCE_BYTES:,} are accepted"
    )
    with path.open("rb") as file:
        return hash_parts(iter(lambda: file.read(2**20), b""))


def _hash_of_file(path: Path) -> str | None:
    try:
        return hash_source(path)
    except (OSError, UserError):  # The purification of this file reports the error.
        return None


def read_rows(directory: Path) -> list[dict[str, str]]:
    """Return the lines of `predictions.csv` in a directory, also incomplete ones; none without a file.

    Raises:
      UserError: the file is damaged, too large, or another table.
    """
    path = directory / FILE
    if not path.is_file():
        return []
    lines = io.StringIO(read_text_file(path, limit=_MAX_BYTES, errors=_ERRORS), newline="")
    try:
        reader = csv.DictReader(lines)
        require(
            set(reader.fieldnames or _ALWAYS) >= _ALWAYS,
            f"{path}: bin/purify did not write it. Give another folder, or --overwrite to replace it.",
        )
        return [
            {name: unescape_cell(value) for name, value in row.items() if isinstance(value, str)}
            for row in reader
        ]
    except csv.Error as error:
        raise UserError(f"{path}: damaged ({error}). Remove it, or give --overwrite.") from error


def _is_complete(row: Mapping[str, str]) -> bool:
    """Return whether a line has all columns of this version, and a readable suspicion or none."""
    if row.keys() != set(_COLUMNS) or not row["source_hash"]:
        return False
    try:
        return not row["suspicion"] or 0 <= float(row["suspicion"]) <= 1
    except ValueError:
        return False


def _shortest_text(value: np.ndarray) -> str:
    """Return the shortest decimal number that is read as the same float32."""
    return np.format_float_positional(np.float32(value), trim="-")


def read_stored(directory: Path, *, overwrite: bool) -> list[dict[str, str]]:
    """Return `read_rows`; none if the file is damaged and replaced anyway."""
    try:
        return read_rows(directory)
    except UserError:
        if not overwrite:
            raise
        return []


def _write_rows(file: TextIO, rows: Iterable[Mapping[str, Any]]) -> None:
    plain = csv.DictWriter(file, _COLUMNS, lineterminator="\n")
    quoted = csv.DictWriter(file, _COLUMNS, lineterminator="\n", quoting=csv.QUOTE_ALL)
    for row in rows:
        # Python's writer leaves a carriage return as it is, and its reader ends the line there.
        has_return = any("\r" in str(value) for value in row.values())
        (quoted if has_return else plain).writerow(escape_row(row))


class PredictionsFile:
    """Table of the model's predictions, one line per image.

    The column `index` is "name[i]" for image i of array `name` in an .npz archive, and empty for
    other files. The column `suspicion` is empty if the model has no such output, and `alarm` if no
    alarm is set; else it is 1 or 0. The alarm of this run also marks the lines of earlier runs.

    Args:
      directory: directory of the file.
      model: the client; lines of other versions of the model are dropped.
      sources: files to purify, by name; lines are dropped if the bytes of their file have changed.
      stored: the lines that the file has, see `read_rows`.
      settings: `overwrite` drops all lines, and `alarm` marks images; None means the defaults.

    Attributes:
      path: the file.
      finished: names of the files that need not be purified again.
      images, alarms: number of lines, and of those that are marked.
    """

    def __init__(
        self,
        directory: Path,
        model: ModelClient,
        sources: Mapping[str, Path],
        stored: Sequence[dict[str, str]],
        settings: PurifySettings | None = None,
    ) -> None:
        self.path = directory / FILE
        self.model, self.settings = model, settings or PurifySettings()
        self.images = self.alarms = 0
        complete = [row for row in stored if _is_complete(row)]
        is_kept = not self.settings.overwrite
        rows = [row for row in complete if is_kept and row["model"] == model.version]
        hashes = {row["file"]: row["source_hash"] for row in rows}
        self.finished = {
            name
            for name, source_hash in hashes.items()
            if (directory / name).is_file()
            and (name not in sources or _hash_of_file(sources[name]) == source_hash)
        }
        # A file of another model, of other bytes or of an older version is made again. Without a line
        # it would look as if someone else had written it.
        named = {row.get("file", "") for row in stored}
        for name in sources.keys() & (named - self.finished):
            (directory / name).unlink(missing_ok=True)
        finished = [
            row | {"alarm": self._alarm(row["suspicion"])}
            for row in rows
            if row["file"] in self.finished
        ]
        # Rewrite the file to remove a line that a killed call left incomplete.
        with (
            atomic_write(self.path) as partial,
            partial.open("w", encoding="utf-8", errors=_ERRORS, newline="") as file,
        ):
            _write_rows(file, [{name: name for name in _COLUMNS}])
            _write_rows(file, finished)
        self._count(finished)

    def add(
        self, file: str, outputs: Sequence[tuple[str, dict[str, np.ndarray]]], source_hash: str
    ) -> None:
        """Append the lines of one file.

        Args:
          file: name of the file.
          outputs: (index, the model's outputs) for each image in the file.
          source_hash: `hash_source` of the file that was purified.

        Raises:
          OSError: the disk is full; no line is left.
        """
        rows = [self._row(file, index, each, source_hash) for index, each in outputs]
        size = self.path.stat().st_size
        try:
            with self.path.open("a", encoding="utf-8", errors=_ERRORS, newline="") as lines:
                _write_rows(lines, rows)
        except OSError:
            with contextlib.suppress(OSError):
                os.truncate(self.path, size)  # The disk is full: leave no half line.
            raise
        self._count(rows)

    def _row(
        self, file: str, index: str, outputs: dict[str, np.ndarray], source_hash: str
    ) -> dict[str, Any]:
        number = int(outputs["classes"])
        suspicion = _shortest_text(outputs["suspicion"]) if "suspicion" in outputs else ""
        return {
            "file": file,
            "index": index,
            "model": self.model.version,
            "class": number,
            "class_name": self._class_name(number),
            "probability": f"{float(outputs['probabilities'][number]):.6f}",
            "perturbation_norm": f"{float(outputs['perturbation_norm']):.6f}",
            "suspicion": suspicion,
            "alarm": self._alarm(suspicion),
            "refused": int(outputs["refused"]) if "refused" in outputs else "",
            "source_hash": source_hash,
        }

    def _alarm(self, suspicion: str) -> str:
        """Return "1" or "0"; "" without an alarm or without a suspicion."""
        alarm = self.settings.alarm
        if alarm is None or not suspicion:
            return ""
        # In float32, in which the model computes: there, 0.9 is not below 0.9.
        return str(int(np.float32(suspicion) >= np.float32(alarm)))

    def _count(self, rows: Sequence[Mapping[str, Any]]) -> None:
        self.images += len(rows)
        self.alarms += sum(row["alarm"] == "1" for row in rows)

    def _class_name(self, number: int) -> str:
        names = self.model.class_names
        return visible_text(names[number], keep="") if 0 <= number < len(names) else ""
