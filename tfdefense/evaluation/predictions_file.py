"""The file `predictions.npz`, written and read back: it may be from a stranger.

The schema is in docs/reference/formats/report.md.
"""

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from tfdefense.errors import UserError, require
from tfdefense.evaluation.per_image_results import NORMS, REFUSED, PerImageResults, ResultKey
from tfdefense.evaluation.predictions import Predictions
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
        raise UserError(f"{path}: {error}. Make the report again with bin/evaluate.") from error


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


def _check(header: ArrayHeader, name: str, kind: str, shape: tuple[int, ...]) -> None:
    if header.dtype.kind != kind or header.shape != shape:
        kinds = {"i": "integer", "f": "floating point", "b": "bool", "U": "text"}
        raise ValueError(
            f"{name} is {header.dtype} {list(header.shape)}, {kinds[kind]} {list(shape)} needed"
        )


def _check_values(values: np.ndarray, name: str, lowest: float) -> None:
    if not np.all(np.isfinite(values)) or np.any(values < lowest):
        raise ValueError(f"{name} has values out of range")
