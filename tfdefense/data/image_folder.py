"""Images in folders, one folder per class: `--dataset=dir:PATH`."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from tfdefense.data.core.dataset import DataOptions, Dataset
from tfdefense.data.core.file_dataset import load_labelled_files
from tfdefense.data.core.file_listing import (
    describe_left_out,
    list_files,
    list_folders,
    shorten_list,
)
from tfdefense.data.core.image_files import LabelledFiles
from tfdefense.data.core.image_reader import SUFFIXES
from tfdefense.data.core.split_folders import find_split_folders, guess_folder
from tfdefense.errors import require
from tfdefense.utils.progress import print_once


def load_image_folder(name: str, options: DataOptions) -> Dataset:
    """Load images from `PATH/CLASS/*.png`, or from `PATH/train/CLASS/*` and `PATH/test/CLASS/*`.

    Folders of training images and of test or validation images are the splits, under any usual name
    (`Training`, `val`, `test_set`, `seg_train`). A part that is missing is drawn from the training
    images.
    Otherwise `options.split_seed` draws 80, 10 and 10 % of each class. Classes are numbered in the
    alphabetical order of their folders, and may have further folders inside. Images are grey if all
    of them are grey, else RGB. Files that are left out are counted and named.

    Args:
      name: "dir:PATH".
      options: `image_size` resizes all images; it is needed if their sizes differ. `channels`
        converts them to grey or RGB. `skip_corrupt` leaves out files that cannot be decoded.

    Raises:
      UserError: no such folder, fewer than two classes, a class without images, folders that look
        like splits or copies, images that cannot be decoded or differ in size, or too few images for
        the splits.
    """
    root = Path(name.removeprefix("dir:"))
    require(
        root.is_dir(),
        f"--dataset={name}: is a file; dir: takes a folder, csv: and npz: take files."
        if root.exists()
        else f"--dataset={name}: no such directory.",
    )
    folders = find_split_folders(root, name)
    training = folders.get("train", root)
    class_names = tuple(path.name for path in list_folders(training))
    require(
        len(class_names) >= 2,
        f"--dataset={name}: {len(class_names) or 'no'} folder{'s' * (len(class_names) != 1)} in {training}; two or more are needed, one per"
        f" class.{guess_folder(root)}",
    )
    by_class = {
        part: _list_classes(folder, class_names, name, part) for part, folder in folders.items()
    }
    _report_left_out(root, folders, by_class, name)
    paths: list[Path] = []
    labels: list[int] = []
    rows = {}
    for part, classes in by_class.items():
        start = len(paths)
        for label, (images, _) in enumerate(classes):
            paths += images
            labels += [label] * len(images)
        rows[part] = np.arange(start, len(paths))
    names = [path.relative_to(root).as_posix() for path in paths]
    files = LabelledFiles(names, paths, np.array(labels, np.int32), rows, class_names)
    return load_labelled_files(name, root, files, options)


def _list_classes(
    folder: Path, class_names: Sequence[str], name: str, part: str
) -> list[tuple[list[Path], list[Path]]]:
    """Return the images and the files that are left out, of each class in the folder of one part."""
    found = {path.name for path in list_folders(folder)}
    unknown = sorted(found - set(class_names))
    hint = " If its images have no classes, move it to another place." if len(found) == 1 else ""
    require(
        not unknown,
        f"--dataset={name}: {folder} has the class {unknown and unknown[0]!r}, which the training"
        f" images do not have.{hint}",
    )
    classes, empty = [], []
    for class_name in class_names:
        inside = folder / class_name
        images, left_out = list_files(inside, SUFFIXES) if inside.is_dir() else ([], [])
        others = f"; {describe_left_out(left_out, inside)}" if left_out else "."
        require(
            images or part in ("validation", "test"),
            f"--dataset={name}: no images ({', '.join(SUFFIXES)}) in {inside}{others}",
        )
        classes.append((images, left_out))
        empty += [] if images else [class_name]
    require(len(empty) < len(class_names), f"--dataset={name}: no images in {folder}.")
    if empty:
        print_once(
            f"--dataset={name}: the {part} images have none of {len(empty):,} classes:"
            f" {shorten_list(empty)}."
        )
    return classes


def _report_left_out(
    root: Path,
    folders: Mapping[str, Path],
    by_class: Mapping[str, Sequence[tuple[Sequence[Path], Sequence[Path]]]],
    name: str,
) -> None:
    """Print what is left out: inside classes, next to them, and next to the folders of splits."""
    left_out = [path for classes in by_class.values() for _, others in classes for path in others]
    for folder in {root, *folders.values()}:
        entered = {
            folder / class_name
            for class_name in _folder_names(folder)
            if folder in folders.values()
        }
        entered |= {path for split in folders.values() for path in (split, *split.parents)}
        left_out += [path for path in folder.iterdir() if path not in entered]
    if left_out:
        reason = "hidden, not an image, or in no class"
        print_once(f"--dataset={name}: {describe_left_out(sorted(set(left_out)), root, reason)}")


def _folder_names(folder: Path) -> list[str]:
    return [path.name for path in list_folders(folder)]
