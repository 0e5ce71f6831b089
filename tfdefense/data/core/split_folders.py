"""Folders that are splits, such as `train` and `Testing`, and folders that are classes."""

import itertools
from collections.abc import Sequence
from pathlib import Path

from tfdefense.data.core.file_listing import list_files, list_folders, shorten_list
from tfdefense.data.core.image_reader import SUFFIXES
from tfdefense.data.core.split_names import name_splits, split_of_name, strip_common_prefix
from tfdefense.errors import UserError, require


def find_split_folders(root: Path, name: str) -> dict[str, Path]:
    """Return split name -> folder of its classes; {"all": root} if the folders in `root` are classes.

    Names may begin alike: `seg_train`, `seg_test`. A folder with the name of a split that holds
    images and no classes is a class, or left out if there are other training images.
    `test/test/CLASS` is read as `test/CLASS`.

    Args:
      root: the folder that was given.
      name: the dataset as given on the command line, for error messages.

    Raises:
      UserError: two folders of one split, training images without a further split, folders that
        look like splits under other names, splits without classes, or a folder in a folder of
        classes that holds the same classes again.
    """
    folders = list_folders(root)
    splits = _name_folders([path.name for path in folders])
    found: dict[str, Path] = {}
    for path in folders:
        split = splits.get(path.name)
        if split is None or _is_flat(_descend(path)):
            continue
        require(
            split not in found,
            f"--dataset={name}: {split in found and found[split].name!r} and {path.name!r} are both"
            f" folders of {split} images. Rename or move one of them.",
        )
        found[split] = path
    if "train" not in found:
        _refuse_flat_splits(splits, name)
        _refuse_splits_without_training(folders, name)
        _refuse_splits_as_classes(folders, name)
        _refuse_copies(root, name)
        return {"all": root}
    train = _descend(found["train"])
    require(
        len(found) > 1,
        f"--dataset={name}: has a folder {found['train'].name} but no folder test or validation with one"
        f" folder per class. Add one, or let the splits be drawn: --dataset=dir:{train}",
    )
    _refuse_copies(train, name)
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


def _name_folders(names: Sequence[str]) -> dict[str, str]:
    """Return name -> split of the folders that are named like splits."""
    splits = name_splits(names)
    if "train" in splits.values():
        return splits
    words = strip_common_prefix(names)
    split_of_word = name_splits(words.values())
    return {name: split_of_word[word] for name, word in words.items() if word in split_of_word}


def _refuse_flat_splits(splits: dict[str, str], name: str) -> None:
    """Raise `UserError` if folders of several splits, one of training images, have no classes."""
    require(
        "train" not in splits.values() or len(set(splits.values())) < 2,
        f"--dataset={name}: {shorten_list(sorted(splits))} look like splits and not like classes, but"
        " the training images are not in one folder per class. Move them to such folders, or give their"
        " labels in a table: --dataset=csv:FILE",
    )


def _refuse_splits_without_training(folders: Sequence[Path], name: str) -> None:
    """Raise `UserError` if folders of several splits hold folders, and none is of training images."""
    splits = name_splits([path.name for path in folders if _names_inside(path)])
    require(
        len(set(splits.values())) < 2,
        f"--dataset={name}: {shorten_list(sorted(splits))} look like splits and not like classes, and"
        " there is no folder train. Rename one of them to train, or all if they are classes.",
    )


def _refuse_splits_as_classes(folders: Sequence[Path], name: str) -> None:
    """Raise `UserError` if several folders hold folders of the same names, and no images themselves.

    They share two names, or all names of one of them.
    """
    inside = {path.name: _names_inside(path) for path in folders}
    for names, others in itertools.combinations(filter(None, inside.values()), 2):
        shared = names & others
        if len(shared) >= min(2, len(names), len(others)):
            alike = [each for each, held in inside.items() if shared <= held]
            raise UserError(
                f"--dataset={name}: {shorten_list(alike)} hold the same folders"
                f" ({shorten_list(sorted(shared))}) and no images, so they look like splits and not like"
                " classes. Rename them to train, validation and test, or give one of them:"
                f" --dataset={name}/{alike[0]}. If they are classes, rename the folders in them."
            )


def _refuse_copies(folder: Path, name: str) -> None:
    """Raise `UserError` if a folder of classes holds another folder of the same classes."""
    folders = list_folders(folder)
    classes = {path.name for path in folders}
    for path in folders:
        inside = _names_inside(path)
        require(
            len(inside) < 2 or not inside <= classes,
            f"--dataset={name}: {path} holds folders that {folder} has too"
            f" ({shorten_list(sorted(inside))}), so it looks like a copy of the classes and not like a"
            f" class. Move it to another place, or give it alone: --dataset=dir:{path}",
        )


def _names_inside(folder: Path) -> frozenset[str]:
    """Return the names of the folders in `folder`; none if it holds images."""
    inside = folder if _holds_images(folder) else _descend(folder)
    return frozenset(() if _holds_images(inside) else (path.name for path in list_folders(inside)))


def _is_flat(folder: Path) -> bool:
    """Return whether a folder holds images that are not in folders of classes."""
    return _holds_images(folder) and len(list_folders(folder)) < 2


def _holds_images(folder: Path) -> bool:
    return any(
        path.suffix.lower() in SUFFIXES and not path.name.startswith(".") and path.is_file()
        for path in folder.iterdir()
    )


def _descend(folder: Path) -> Path:
    """Return `folder`, or the only folder in it if that has its name or is of the same split."""
    below = list_folders(folder)
    if len(below) != 1 or _holds_images(folder):
        return folder
    name, inside = folder.name, below[0].name
    split = split_of_name(name)
    is_same_split = split is not None and split == split_of_name(inside)
    return below[0] if is_same_split or name.casefold() == inside.casefold() else folder
