"""`predictions.csv`: what a served model took each image for, and what is done already."""

import csv
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from tfdefense.utils.atomic_write import atomic_write
from tfdefense.utils.hashing import hashed

FILE = "predictions.csv"
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
    """Tells the bytes of one source from another's."""
    return hashed([source])


def _hash_of_file(path: Path) -> str | None:
    try:
        return source_hash_of(path.read_bytes())
    except OSError:  # Whoever is to purify it says so.
        return None


class Predictions:
    """A line for each image; of an .npz, `index` says which array and which image in it.

    Args:
      directory: where the file lies, or will.
      model: its version; lines of another model are dropped.
      sources: by name, the files that are to be purified; lines of other bytes under such a name are dropped.
      class_names: K names, or none where they are not known.
      afresh: drop all lines.
    """

    def __init__(
        self,
        directory: Path,
        model: str,
        sources: Mapping[str, Path],
        class_names: Sequence[str],
        afresh: bool = False,
    ) -> None:
        self.path = directory / FILE
        self.model = model
        self.class_names = class_names
        kept = [] if afresh else self._kept()
        hashes = {row["file"]: row["source_hash"] for row in kept}
        self.done = {
            name
            for name, of in hashes.items()
            if (directory / name).is_file()
            and (name not in sources or _hash_of_file(sources[name]) == of)
        }
        # Written anew, so that a line that was cut off when an earlier call was killed is gone.
        with atomic_write(self.path) as partial, partial.open("w", newline="") as file:
            writer = csv.DictWriter(file, _COLUMNS, lineterminator="\n")
            writer.writeheader()
            writer.writerows(row for row in kept if row["file"] in self.done)

    def add(
        self, file: str, answers: Sequence[tuple[str, dict[str, np.ndarray]]], source_hash: str
    ) -> None:
        """Appends the lines of a file: (index, what the model answered) for each of its images; `source_hash_of` what was read."""
        with self.path.open("a", newline="") as lines:
            writer = csv.DictWriter(lines, _COLUMNS, lineterminator="\n")
            writer.writerows(
                self._row(file, index, answer, source_hash) for index, answer in answers
            )

    def _row(
        self, file: str, index: str, answer: dict[str, np.ndarray], source_hash: str
    ) -> dict[str, Any]:
        number = int(answer["classes"])
        return {
            "file": file,
            "index": index,
            "model": self.model,
            "class": number,
            "class_name": self.class_names[number] if number < len(self.class_names) else "",
            "probability": f"{float(answer['probabilities'][number]):.6f}",
            "perturbation_norm": f"{float(answer['perturbation_norm']):.6f}",
            "refused": int(answer["refused"]) if "refused" in answer else "",
            "source_hash": source_hash,
        }

    def _kept(self) -> list[dict[str, str]]:
        if not self.path.is_file():
            return []
        with self.path.open(newline="") as file:
            rows = list(csv.DictReader(file))
        return [row for row in rows if row.get("model") == self.model and row.get("source_hash")]
