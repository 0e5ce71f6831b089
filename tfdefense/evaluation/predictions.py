"""The file `predictions.npz`: every measurement of every image, written and read back.

The schema is in docs/reference/formats/report.md.
"""

import dataclasses
import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from tfdefense.errors import UserError, require
from tfdefense.evaluation.per_image_results import NORMS, REFUSED, PerImageResults, ResultKey
from tfdefense.utils.atomic_write import atomic_write
from tfdefense.utils.npz_archive import ArrayHeader, NpzArchive
from tfdefense.utils.untrusted_file import require_archive_size

SCHEMA = 2
_MAX_IMAGES = 10_000_000
_MAX_NAME_BYTES = 1_000_000
# Kind of the dtype and shape behind the number of images, and the smallest allowed value.
_FIELDS: dict[str, tuple[str, tuple[int, ...], float]] = {
    "predicted": ("i", (), REFUSED),
    "perturbation": ("f", (len(NORMS),), 0),
    "left": ("f", (len(NORMS),), 0),
    "change": ("f", (), 0),
    "disagreement": ("f", (), 0),
    "excess": ("f", (), -np.inf),
    "counted": ("b", (), False),
    "changed_pixels": ("i", (), 0),
    "queries": ("i", (), 0),
    "gradients": ("i", (), 0),
    "surrogate": ("i", (), -1),
    "fooled_by": ("i", (), -1),
}
_NAMES = ("attacks", "surrogates")


@dataclasses.dataclass(frozen=True)
class ImagePredictions:
    """Results of one row of a report on its n images.

    Attributes:
      key: pipeline, attack and threat model of the row.
      labels: true classes int32 [n].
      results: everything else; what the file lacks is None.
    """

    key: ResultKey
    labels: np.ndarray
    results: PerImageResults

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def correct(self) -> np.ndarray:
        """bool [n]; an attacked image is also correct if it is refused."""
        correct = self.results.predicted == self.labels
        if self.key.attack != "none":
            correct = correct | (self.results.predicted == REFUSED)
        return correct

    @property
    def fooled_by(self) -> np.ndarray:
        """Attack that fooled each image, text [n]; "" for none, "none" if it is wrong when clean.

        In a row of one attack it is that attack for every image that is not correct.
        """
        if self.results.fooled_by is None or self.results.attacks is None:
            return np.where(self.correct, "", self.key.attack)
        return _pick(self.results.attacks, self.results.fooled_by)

    @property
    def surrogate(self) -> np.ndarray | None:
        """Surrogate gradient that fooled each image, text [n]; "" for none; None if unknown."""
        index = self.results.surrogate
        return None if index is None else _pick(self.results.surrogates, index)

    def columns(self) -> dict[str, np.ndarray | None]:
        """Return name -> array [n] of everything that is known of each image; None if it is not."""
        results = self.results
        left = [None] * len(NORMS) if results.left is None else results.left.T
        return {
            "image": np.arange(len(self)),
            "label": self.labels,
            "predicted": results.predicted,
            "correct": self.correct,
            "fooled_by": self.fooled_by,
            "surrogate": self.surrogate,
            "l0": results.changed_pixels,
            **dict(zip(NORMS, results.perturbation.T, strict=True)),
            **{f"left_{name}": each for name, each in zip(NORMS, left, strict=True)},
            "change": results.change,
            "disagreement": results.disagreement,
            "queries": results.queries,
            "gradients": results.gradients,
            "excess": results.excess,
            "counted": np.ones(len(self), bool) if results.counted is None else results.counted,
        }


class Predictions(Mapping[ResultKey, ImagePredictions]):
    """Results per image of a report: `predictions[defense, attack, threat_model]`.

    Args:
      labels: true classes int32 [N].
      results: by row.
    """

    def __init__(self, labels: np.ndarray, results: Mapping[ResultKey, PerImageResults]) -> None:
        self.labels = labels
        self._rows = {
            key: ImagePredictions(key, labels[: len(each)], each) for key, each in results.items()
        }

    def __getitem__(self, key: tuple[str, str, str]) -> ImagePredictions:
        return self._rows[ResultKey(*key)]

    def __iter__(self) -> Iterator[ResultKey]:
        return iter(self._rows)

    def __len__(self) -> int:
        return len(self._rows)

    def to_records(self) -> list[dict[str, Any]]:
        """Return one dictionary per row and image: the key's three parts and `columns`.

        Values are plain Python, or None, as `csv.DictWriter` and `pandas.DataFrame` take them.
        """
        records = []
        for key, row in self.items():
            columns = {
                name: [None] * len(row) if values is None else values.tolist()
                for name, values in row.columns().items()
            }
            for values in zip(*columns.values(), strict=True):
                records.append({**key._asdict(), **dict(zip(columns, values, strict=True))})
        return records


def save_predictions(
    path: Path, labels: np.ndarray, results: Mapping[str, PerImageResults]
) -> None:
    """Write results per image as a compressed .npz file.

    Args:
      path: the file.
      labels: true classes int32 [N].
      results: "defense/attack/threat_model" -> results on the first n images.
    """
    arrays: dict[str, Any] = {
        f"{key}/{name}": array
        for key, each in results.items()
        for name, array in each.arrays().items()
    }
    with atomic_write(path) as partial:
        np.savez_compressed(partial, schema=np.array(SCHEMA), labels=labels, **arrays)


def load_predictions(path: str | Path) -> Predictions:
    """Read the `predictions.npz` of a run directory, of this or an earlier version.

    Args:
      path: the file, or the run directory.

    Raises:
      UserError: there is no such file, it is damaged, or an array in it has another name, shape or
        dtype than the schema says, or a value out of range.
    """
    path = Path(path)
    path = path / "predictions.npz" if path.is_dir() else path
    require(path.is_file(), f"{path}: no such file. bin/evaluate writes it into the run directory.")
    require_archive_size(path, str(path))
    try:
        with NpzArchive(path) as archive:
            return _read(archive)
    except ValueError as error:
        raise UserError(f"{path}: {error}. Make it again with bin/evaluate --overwrite.") from error


def _read(archive: NpzArchive) -> Predictions:
    """Return the content; raise `ValueError` with a short reason."""
    headers = dict(archive.headers)
    if "schema" in headers:
        _check(headers.pop("schema"), "schema", "i", ())
        schema = int(archive.read("schema"))
        if not 1 <= schema <= SCHEMA:
            raise ValueError(f"schema is {schema}, at most {SCHEMA} is known")
    if "labels" not in headers:
        raise ValueError("labels missing")
    labels_header = headers.pop("labels")
    total = labels_header.shape[0] if len(labels_header.shape) == 1 else -1
    if not 0 <= total <= _MAX_IMAGES:
        raise ValueError(f"labels is {list(labels_header.shape)}, at most {_MAX_IMAGES:,} allowed")
    _check(labels_header, "labels", "i", (total,))
    fields: dict[ResultKey, dict[str, ArrayHeader]] = {}
    for name, header in headers.items():
        *parts, field = name.split("/")
        if len(parts) != 3 or field not in (*_FIELDS, *_NAMES):
            raise ValueError(f"{name} unknown")
        fields.setdefault(ResultKey(*parts), {})[field] = header
    labels = archive.read("labels").astype(np.int32)
    _check_values(labels, "labels", 0)
    rows = {key: _read_row(archive, key, found, total) for key, found in fields.items()}
    return Predictions(labels, rows)


def _read_row(
    archive: NpzArchive, key: ResultKey, headers: Mapping[str, ArrayHeader], total: int
) -> PerImageResults:
    missing = {"predicted", "perturbation"} - headers.keys()
    if missing:
        raise ValueError(f"{key}/{min(missing)} missing")
    n = headers["predicted"].shape[0] if headers["predicted"].shape else -1
    if not 0 <= n <= total:
        raise ValueError(f"{key}/predicted is {list(headers['predicted'].shape)}")
    arrays: dict[str, np.ndarray] = {}
    for name, header in headers.items():
        if name in _NAMES:
            _check(header, f"{key}/{name}", "U", header.shape[:1] or (1,))
            if math.prod(header.shape) * header.dtype.itemsize > _MAX_NAME_BYTES:
                raise ValueError(f"{key}/{name} is too long")
            arrays[name] = archive.read(f"{key}/{name}")
            continue
        kind, tail, lowest = _FIELDS[name]
        _check(header, f"{key}/{name}", kind, (n, *tail))
        arrays[name] = archive.read(f"{key}/{name}")
        _check_values(arrays[name], f"{key}/{name}", lowest)
    for name, names in (("fooled_by", "attacks"), ("surrogate", "surrogates")):
        if name in arrays and np.any(arrays[name] >= len(arrays.get(names, ()))):
            raise ValueError(f"{key}/{name} has indices beyond its {names}")
    return PerImageResults(**arrays)


def _pick(names: np.ndarray | None, indices: np.ndarray) -> np.ndarray:
    """Return the name at each index, and "" for -1."""
    return np.array([*([] if names is None else names), ""])[indices]


def _check(header: ArrayHeader, name: str, kind: str, shape: tuple[int, ...]) -> None:
    if header.dtype.kind != kind or header.shape != shape:
        kinds = {"i": "integer", "f": "floating point", "b": "bool", "U": "text"}
        raise ValueError(
            f"{name} is {header.dtype} {list(header.shape)}, {kinds[kind]} {list(shape)} needed"
        )


def _check_values(values: np.ndarray, name: str, lowest: float) -> None:
    if not np.all(np.isfinite(values)) or np.any(values < lowest):
        raise ValueError(f"{name} has values out of range")
