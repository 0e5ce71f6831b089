"""`predictions.csv`: one line per purified image, which also marks a file as finished."""

import contextlib
import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from tfdefense.errors import UserError, require
from tfdefense.serving.client.model_client import ModelClient
from tfdefense.serving.client.predictions_rows import (
    COLUMNS,
    ERRORS,
    FILE,
    Row,
    group_by_file,
    is_complete,
    mark_unfinished,
    read_rows,
    write_rows,
)
from tfdefense.serving.client.purify_settings import PurifySettings
from tfdefense.utils.atomic_write import atomic_write
from tfdefense.utils.hashing import hash_parts
from tfdefense.utils.untrusted_file import irregular_kind
from tfdefense.utils.visible_text import visible_text

_MAX_SOURCE_BYTES = 16 * 2**30


def hash_source(path: Path, limit: int = _MAX_SOURCE_BYTES) -> str:
    """Return the hash of the bytes of a file that is to be purified.

    Args:
      path: the file.
      limit: largest number of bytes.

    Raises:
      OSError: the file cannot be read.
      UserError: it is not a regular file, or too large; the message has no path.
    """
    kind, size = irregular_kind(path), path.stat().st_size
    require(not kind, f"{kind}; a regular file is needed")
    require(size <= limit, f"{size:,} bytes; at most {limit:,} are accepted")
    with path.open("rb") as file:
        return hash_parts(iter(lambda: file.read(2**20), b""))


def _hash_of_file(path: Path) -> str | None:
    try:
        return hash_source(path)
    except (OSError, UserError):  # The purification of this file reports the error.
        return None


def _shortest_text(value: np.ndarray) -> str:
    """Return the shortest decimal number that is read as the same float32."""
    return np.format_float_positional(np.float32(value), trim="-")


class PredictionsFile:
    """Table of the model's predictions, one line per image.

    The column `index` is "name[i]" for image i of array `name` in an .npz archive, and empty for
    other files. The column `suspicion` is empty if the model has no such output, and `alarm` if no
    alarm is set; else it is 1 or 0. The alarm of this run also marks the lines of earlier runs.

    Lines of files that are not to be purified now stay; only their alarm is updated, and lines of
    older versions are marked. A file that is to be purified again keeps its lines, marked, until its
    new ones are written.

    Args:
      directory: directory of the file.
      model: the client; a file that another version of the model purified is not finished.
      sources: files to purify, by name; a file whose bytes have changed is not finished.
      stored: the lines that the file has, see `read_rows`.
      settings: with `overwrite` no file is finished, and `alarm` marks images; None means the
        defaults.

    Attributes:
      path: the file.
      finished: names of the sources that need not be purified again.
      images, alarms: number of lines, and of those that are marked by the alarm.
    """

    def __init__(
        self,
        directory: Path,
        model: ModelClient,
        sources: Mapping[str, Path],
        stored: Sequence[Row],
        settings: PurifySettings | None = None,
    ) -> None:
        self.path = directory / FILE
        self.model, self.settings = model, settings or PurifySettings()
        self.images = self.alarms = 0
        self.finished: set[str] = set()
        self._waiting: dict[str, list[Row]] = {}  # Marked lines, by file.
        self._has_replaced = False
        kept: list[Row] = []
        for name, lines in group_by_file(stored).items():
            if (directory / name).is_file():
                kept += self._keep(name, lines, sources.get(name))
        self._replace(kept)
        self._count(kept)

    def _keep(self, name: str, lines: Sequence[Row], source: Path | None) -> list[Row]:
        """Return the lines to keep for a file in the directory, whose input file is `source`, or None."""
        is_finished = source is not None and self._is_finished(name, lines, source)
        is_waiting = not is_finished and (source is not None or not all(map(is_complete, lines)))
        # Without lines the file would look as if someone else had written it.
        kept = [mark_unfinished(row) if is_waiting else row for row in lines]
        kept = [row | {"alarm": self._alarm(row["suspicion"])} for row in kept]
        if is_finished:
            self.finished.add(name)
        if is_waiting:
            self._waiting[name] = kept
        return kept

    def _is_finished(self, name: str, lines: Sequence[Row], source: Path) -> bool:
        purified = self.path.parent / name
        return (
            not self.settings.overwrite
            and all(is_complete(row) and row["model"] == self.model.version for row in lines)
            and purified.stat().st_size > 0  # A power failure can leave an empty file.
            and {row["source_hash"] for row in lines} == {_hash_of_file(source)}
        )

    def _replace(self, rows: Iterable[Row]) -> None:
        with (
            atomic_write(self.path) as partial,
            partial.open("w", encoding="utf-8", errors=ERRORS, newline="") as file,
        ):
            write_rows(file, [{name: name for name in COLUMNS}])
            write_rows(file, rows)

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
            with self.path.open("a", encoding="utf-8", errors=ERRORS, newline="") as lines:
                write_rows(lines, rows)
        except OSError:
            with contextlib.suppress(OSError):
                os.truncate(self.path, size)  # The disk is full: leave no half line.
            raise
        self._count(rows)
        replaced = self._waiting.pop(file, [])
        self._count(replaced, -1)
        self._has_replaced |= bool(replaced)

    def remove_replaced(self) -> None:
        """Remove the marked lines of the files that were purified again.

        Raises:
          OSError: the disk is full; the marked lines stay, and the next purification removes them.
          UserError: another process has damaged the file.
        """
        if self._has_replaced:
            groups = group_by_file(read_rows(self.path.parent))
            self._replace(row for lines in groups.values() for row in lines)
            self._has_replaced = False

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

    def _count(self, rows: Sequence[Mapping[str, Any]], change: int = 1) -> None:
        self.images += change * len(rows)
        self.alarms += change * sum(row["alarm"] == "1" for row in rows)

    def _class_name(self, number: int) -> str:
        names = self.model.class_names
        return visible_text(names[number], keep="") if 0 <= number < len(names) else ""
