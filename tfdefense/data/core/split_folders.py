"""Folders that are splits, such as `train` and `Testing`, and folders that are classes."""

import re
from collections.abc import Sequence
from pathlib import Path

from tfdefense.data.core.file_listing import list_files, list_folders, shorten_list
from tfdefense.data.core.image_reader import SUFFIXES
from tfdefense.errors import require

_SPLIT_WORDS = {
    "train": ("train", "training", "trn"),
    "validation": ("validation", "val", "valid", "dev"),
    "test": ("test", "testing", "tst"),
}
# Words that say nothing: "test_set", "TrainImages", "val-data".
_FILLERS = re.compile(r"[^a-z]|(data)?set|data|images?|imgs?|split|folder")


def split_of_name(name: str) -> str | None:
    """Return "train", "validation" or "test" for names such as `Training` and `test_set`, or None."""
    word = _FILLERS.sub("", name.lower())
    return next((split for split, words in _SPLIT_WORDS.items() if word in words), None)


def find_split_folders(root: Path, name: str) -> dict[str, Path]:
    """Return split name -> folder of its classes; {"all": root} if the folders in `root` are classes.

    A folder with the name of a split that holds images itself is a class. `test/test/CLASS` is read
    as `test/CLASS`.

    Args:
      root: the folder that was given.
      name: the dataset as given on the command line, for error messages.

    Raises:
      UserError: two folders of one split, training images without a further split, or folders that
        look like splits under other names.
    """
    found: dict[str, Path] = {}
    for path in list_folders(root):
        split = split_of_name(path.name)
        if split is None or _holds_images(path):
            continue
        require(
            split not in found,
            f"--dataset={name}: {split in found and found[split].name!r} and {path.name!r} are both"
            f" folders of {split} images. Rename or move one of them.",
        )
        found[split] = path
    if "train" not in found:
        _refuse_splits_as_classes(list_folders(root), name)
        return {"all": root}
    train = found["train"]
    require(
        len(found) > 1,
        f"--dataset={name}: has a folder {train.name} but no folder test or validation with one folder"
        f" per class. Add one, or let the splits be drawn: --dataset=dir:{train}",
    )
    return {split: _descend(path) for split, path in found.items()}


def guess_folder(root: Path) -> str:
    """Return a sentence that says where the classes may be, for a folder with fewer than two; or ""."""
    tables = [path.name for path in list_files(root, (".csv",))[0] if path.parent == root]
    folders = list_folders(root)
    if tables:
        return f" For labels in a table: --dataset=csv:{root / tables[0]}"
    if len(folders) == 1 and len(list_folders(folders[0])) > 1:
        return f" Did you mean --dataset=dir:{folders[0]}?"
    return ""


def _refuse_splits_as_classes(folders: Sequence[Path], name: str) -> None:
    """Raise `UserError` if several folders hold the same folders, and no images themselves."""
    inside: dict[frozenset[str], list[str]] = {}
    for path in folders:
        names = frozenset(below.name for below in list_folders(path))
        if names and not _holds_images(path):
            inside.setdefault(names, []).append(path.name)
    for names, alike in inside.items():
        require(
            len(alike) < 2,
            f"--dataset={name}: {shorten_list(alike)} hold the same folders"
            f" ({shorten_list(sorted(names))}) and no images, so they look like splits and not like"
            " classes. Rename them to train, validation and test, or give one of them:"
            f" --dataset={name}/{alike[0]}",
        )


def _holds_images(folder: Path) -> bool:
    return any(
        path.suffix.lower() in SUFFIXES and not path.name.startswith(".") and path.is_file()
        for path in folder.iterdir()
    )


def _descend(folder: Path) -> Path:
    """Return `folder`, or the only folder in it if that is a folder of the same split again."""
    below = list_folders(folder)
    if len(below) == 1 and split_of_name(below[0].name) == split_of_name(folder.name):
        return folder if _holds_images(below[0]) else below[0]
    return folder
