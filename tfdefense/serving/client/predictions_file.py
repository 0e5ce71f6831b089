"""`predictions.csv`: one line per purified image, which also marks a file as finished."""

import csv
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from tfdefense.utils.atomic_write import atomic_write
from tfdefense.utils.hashing import hash_parts

FILE = "predictions.csv"
_ERRORS = "surrogateescape"  # File names that are not valid UTF-8 keep their bytes.
_COLUMNS = (
    "file",
    "index",
    "model",
    "class",
    "class_name",
    "probability",
    "perturbation_norm",
    "refused",
    "source_hash",
)


def source_hash_of(source: bytes) -> str:
    """Return the hash of a source file's bytes."""
    return hash_parts([source])


def _hash_of_file(path: Path) -> str | None:
    try:
        return source_hash_of(path.read_bytes())
    except OSError:  # The purification of this file reports the error.
        return None


class PredictionsFile:
    """Table of the model's predictions, one line per image.

    The column `index` is "name[i]" for image i of array `name` in an .npz archive, and empty for
    other files.

    Args:
      directory: directory of the file.
      model: version of the model; lines of other models are dropped.
      sources: files to purify, by name; lines are dropped if the bytes of their file have changed.
      class_names: K names; empty if they are unknown.
      overwrite: drop all lines.

    Attributes:
      path: the file.
      finished: names of the files that need not be purified again.
    """

    def __init__(
        self,
        directory: Path,
        model: str,
        sources: Mapping[str, Path],
        class_names: Sequence[str],
        *,
        overwrite: bool = False,
    ) -> None:
        self.path = directory / FILE
        self.model = model
        self.class_names = class_names
        rows = [] if overwrite else self._read_rows()
        hashes = {row["file"]: row["source_hash"] for row in rows}
        self.finished = {
            name
            for name, source_hash in hashes.items()
            if (directory / name).is_file()
            and (name not in sources or _hash_of_file(sources[name]) == source_hash)
        }
        # Rewrite the file to remove a line that a killed call left incomplete.
        with (
            atomic_write(self.path) as partial,
            partial.open("w", encoding="utf-8", errors=_ERRORS, newline="") as file,
        ):
            writer = csv.DictWriter(file, _COLUMNS, lineterminator="\n")
            writer.writeheader()
            writer.writerows(row for row in rows if row["file"] in self.finished)

    def add(
        self, file: str, outputs: Sequence[tuple[str, dict[str, np.ndarray]]], source_hash: str
    ) -> None:
        """Append the lines of one file.

        Args:
          file: name of the file.
          outputs: (index, the model's outputs) for each image in the file.
          source_hash: `source_hash_of` the bytes that were purified.
        """
        with self.path.open("a", encoding="utf-8", errors=_ERRORS, newline="") as lines:
            writer = csv.DictWriter(lines, _COLUMNS, lineterminator="\n")
            writer.writerows(self._row(file, index, each, source_hash) for index, each in outputs)

    def _row(
        self, file: str, index: str, outputs: dict[str, np.ndarray], source_hash: str
    ) -> dict[str, Any]:
        number = int(outputs["classes"])
        return {
            "file": file,
            "index": index,
            "model": self.model,
            "class": number,
            "class_name": self.class_names[number] if number < len(self.class_names) else "",
            "probability": f"{float(outputs['probabilities'][number]):.6f}",
            "perturbation_norm": f"{float(outputs['perturbation_norm']):.6f}",
            "refused": int(outputs["refused"]) if "refused" in outputs else "",
            "source_hash": source_hash,
        }

    def _read_rows(self) -> list[dict[str, str]]:
        if not self.path.is_file():
            return []
        with self.path.open(encoding="utf-8", errors=_ERRORS, newline="") as file:
            rows = list(csv.DictReader(file))
        return [row for row in rows if row.get("model") == self.model and row.get("source_hash")]
