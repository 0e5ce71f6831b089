"""Image files and their labels in a table: `--dataset=csv:FILE`."""

import functools
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from tfdefense.data.core.class_labels import number_labels
from tfdefense.data.core.csv_table import CsvRow, read_table
from tfdefense.data.core.dataset import DataOptions, Dataset
from tfdefense.data.core.file_dataset import load_labelled_files
from tfdefense.data.core.file_listing import list_folders, shorten_list
from tfdefense.data.core.image_files import LabelledFiles
from tfdefense.data.core.image_reader import SUFFIXES
from tfdefense.data.core.split_names import name_splits
from tfdefense.errors import UserError, cut_text, require
from tfdefense.utils.progress import print_once
from tfdefense.utils.real_path import real_path

_FILES_SHOWN = 20
_NAMES_TRIED = 200


def load_csv_file(name: str, options: DataOptions) -> Dataset:
    """Load the image files that a CSV file names, with its labels.

    The columns are described in `read_table`. File names are relative to the folder of the CSV file,
    or to a folder in it, such as `images`; their suffix may be missing. Labels are class numbers from
    0, or names, which are numbered in alphabetical order. A column `split` names the splits; splits
    that are missing are drawn by `options.split_seed`, as in `load_image_folder`.

    Args:
      name: "csv:FILE".
      options: see `load_image_folder`.

    Raises:
      UserError: no such file, a table that cannot be read, files that do not exist or are not in its
        folder, one file with two labels, an unknown split, fewer than two classes, or images that `load_image_folder` refuses.
    """
    table = Path(name.removeprefix("csv:"))
    require(table.is_file(), f"--dataset={name}: no such file.")
    rows = read_table(table, name)
    rows, paths = _drop_repeated(rows, _find_files(table, [row.file for row in rows], name), name)
    labels, class_names = number_labels(
        [row.label for row in rows], [row.class_name for row in rows], name
    )
    names = [row.file for row in rows]
    files = LabelledFiles(names, paths, labels, _part_rows(rows, name), class_names)
    return load_labelled_files(name, table, files, options)


def _drop_repeated(
    rows: Sequence[CsvRow], paths: Sequence[Path], name: str
) -> tuple[list[CsvRow], list[Path]]:
    """Return each file and its path once, so that no image is both a training and a test image.

    `a.png`, `./a.png`, a link to it, and `a` are one file.
    """
    resolve_folder = functools.cache(real_path)
    first: dict[Path, tuple[CsvRow, Path]] = {}
    for row, path in zip(rows, paths, strict=True):
        # One folder holds many files.
        resolved = real_path(path) if path.is_symlink() else resolve_folder(path.parent) / path.name
        earlier, _ = first.setdefault(resolved, (row, path))
        require(
            (earlier.label, earlier.split) == (row.label, row.split),
            f"--dataset={name}: line {row.line} gives {row.file!r} the label {row.label!r} and the split"
            f" {row.split!r}, line {earlier.line} {earlier.label!r} and {earlier.split!r}.",
        )
    if len(first) < len(rows):
        print_once(f"--dataset={name}: {len(rows) - len(first):,} repeated lines left out.")
    return [row for row, _ in first.values()], [path for _, path in first.values()]


def _find_files(table: Path, names: Sequence[str], name: str) -> list[Path]:
    """Return the path of each file, all relative to one folder: see `_find_folder`."""
    folder = table.parent
    _require_inside(names, folder, name)
    best = _find_folder(folder, names, name)
    found = [_find_file(best / each) for each in names]
    missing = [each for each, path in zip(names, found, strict=True) if path is None]
    count = f"{len(missing):,} of {len(names):,} files do not exist"
    require(
        not missing,
        f"--dataset={name}: {count}: {shorten_list([cut_text(each) for each in missing], _FILES_SHOWN)}. Names are relative to"
        f" {folder}, or to one folder in it.",
    )
    return [path for path in found if path is not None]


def _find_folder(folder: Path, names: Sequence[str], name: str) -> Path:
    """Return the folder of the table, unless a folder in it has more of the files.

    Raises:
      UserError: two folders in it have equally many, such as photographs and masks of the same names.
    """
    # A few names tell the folder: there may be many of both.
    tried = names[:: max(1, len(names) // _NAMES_TRIED)]
    counts = {
        place: sum(_find_file(place / each) is not None for each in tried)
        for place in (folder, *list_folders(folder))
    }
    most = max(counts.values())
    best = [place for place, count in counts.items() if count == most]
    if folder in best:
        return folder
    listed = shorten_list([cut_text(place.name) for place in best])
    example = cut_text(f"{best[0].name}/{names[0]}")
    require(
        len(best) == 1,
        f"--dataset={name}: {len(best)} folders have files of these names: {listed}. Name the folder in"
        f" the table: {example}",
    )
    return best[0]


def _require_inside(names: Sequence[str], folder: Path, name: str) -> None:
    """Raise `UserError` if a table names files that are not in its folder."""
    outside = [
        each
        for each in names
        if each.startswith(("/", "~")) or ".." in each.split("/") or not each.strip("./")
    ]
    require(
        not outside,
        f"--dataset={name}: {len(outside):,} of {len(names):,} files are named by a path that leads out"
        f" of the folder: {shorten_list([cut_text(each) for each in outside])}. Names are relative to"
        f" {folder}, or to one folder in it. Move the table to the folder above the images.",
    )


def _find_file(path: Path) -> Path | None:
    """Return a path, or the path with one of the suffixes of images; None if there is no such file."""
    if path.is_file():
        return path
    if path.suffix.lower() in SUFFIXES:
        return None
    endings = [case for suffix in SUFFIXES for case in (suffix, suffix.upper())]
    candidates = [path.with_name(path.name + ending) for ending in endings]
    return next((each for each in candidates if each.is_file()), None)


def _part_rows(rows: Sequence[CsvRow], name: str) -> dict[str, np.ndarray]:
    """Return part -> indices of its rows, as `load_labelled_files` takes them."""
    if not any(row.split for row in rows):
        return {"all": np.arange(len(rows))}
    splits = name_splits({row.split for row in rows})
    parts: dict[str, list[int]] = {}
    for index, row in enumerate(rows):
        split = splits.get(row.split)
        if split is None:
            raise UserError(
                f"--dataset={name}: line {row.line}: split {row.split!r} given; train, validation or"
                " test needed. If the column is not about these, rename it: splits are then drawn."
            )
        parts.setdefault(split, []).append(index)
    require("train" in parts, f"--dataset={name}: the column split has no training images.")
    if len(parts) == 1:
        return {"all": np.arange(len(rows))}
    return {split: np.array(indices) for split, indices in parts.items()}
