"""Images in folders, one folder per class: `--dataset=dir:PATH`."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from tfdefense.data.core import splitting
from tfdefense.data.core.dataset import DataOptions, Dataset, Split, make_slug
from tfdefense.data.core.decoded_images import decode_images
from tfdefense.data.core.image_files import SUFFIXES, ImageFiles, survey_images
from tfdefense.errors import require

# Split name -> names of its folder, in lower case.
_SPLIT_FOLDERS = {
    "train": ("train",),
    "validation": ("validation", "val", "valid"),
    "test": ("test",),
}


def load_image_folder(name: str, options: DataOptions) -> Dataset:
    """Load images from `PATH/CLASS/*.png`, or from `PATH/train/CLASS/*` and `PATH/test/CLASS/*`.

    If there are folders `train` and `test` (and optionally `validation` or `val`), they are the
    splits. Otherwise `options.split_seed` draws 80, 10 and 10 % of each class. Classes are numbered in
    the alphabetical order of their folders. Images are grey if all of them are grey, else RGB.

    Args:
      name: "dir:PATH".
      options: `image_size` resizes all images; it is needed if their sizes differ.

    Raises:
      UserError: no such folder, fewer than two classes, a class without images, a file that is not an
        image, images of different sizes, or too few images for the splits.
    """
    root = Path(name.removeprefix("dir:"))
    require(root.is_dir(), f"--dataset={name}: no such directory.")
    folders = _find_split_folders(root, name)
    class_names = tuple(sorted(path.name for path in _list_folders(next(iter(folders.values())))))
    found = {part: _list_images(folder, class_names, name) for part, folder in folders.items()}
    every_file = [path for paths, _ in found.values() for path in paths]
    channels, size = survey_images(every_file, name, options.image_size)
    short_name = f"dir-{make_slug(root)}"
    parts = {
        part: ImageFiles(f"{make_slug(root)} {part}", root, paths, labels, (*size, channels))
        for part, (paths, labels) in found.items()
    }
    indices = _split_indices(parts, options.split_seed, name, class_names)
    decoded = {part: decode_images(source) for part, source in parts.items()}

    def make_split(split: str) -> Split:
        part, rows = indices[split]
        images, labels = decoded[part].select(rows), parts[part].labels[rows]
        return Split(images, labels, len(class_names), dataset=short_name)

    return Dataset(
        name=short_name,
        train=make_split("train"),
        validation=make_split("validation"),
        test=make_split("test"),
        class_names=class_names,
        source=f"dir:{root.resolve()}",
        options=options.settings(),
    )


def _find_split_folders(root: Path, name: str) -> dict[str, Path]:
    """Return split name -> folder; {"all": root} if the folders in `root` are classes."""
    below = {path.name.lower(): path for path in _list_folders(root)}
    found = {}
    for split, aliases in _SPLIT_FOLDERS.items():
        present = [below[alias] for alias in aliases if alias in below]
        if present:
            found[split] = present[0]
    if "train" not in found:
        return {"all": root}
    require(
        "test" in found,
        f"--dataset={name}: has a folder train but no folder test. Add one, or give a directory that"
        " holds classes only.",
    )
    return found


def _list_folders(folder: Path) -> list[Path]:
    return [path for path in folder.iterdir() if path.is_dir() and not path.name.startswith(".")]


def _list_images(
    folder: Path, class_names: Sequence[str], name: str
) -> tuple[list[Path], np.ndarray]:
    """Return all images below `folder`, by class and then by name, and their labels int32 [N]."""
    unknown = sorted({path.name for path in _list_folders(folder)} - set(class_names))
    require(
        not unknown,
        f"--dataset={name}: {folder} has the class {unknown and unknown[0]!r}, which the training"
        " images do not have.",
    )
    require(
        len(class_names) >= 2,
        f"--dataset={name}: {len(class_names)} folders in {folder}; two or more are needed, one per"
        " class.",
    )
    files: list[Path] = []
    labels: list[int] = []
    for label, class_name in enumerate(class_names):
        inside = sorted(
            path
            for path in (folder / class_name).rglob("*")
            if path.suffix.lower() in SUFFIXES and not path.name.startswith(".")
        )
        require(
            inside,
            f"--dataset={name}: no images ({', '.join(SUFFIXES)}) in {folder / class_name}.",
        )
        files += inside
        labels += [label] * len(inside)
    return files, np.array(labels, np.int32)


def _split_indices(
    parts: dict[str, ImageFiles], seed: int, name: str, class_names: Sequence[str]
) -> dict[str, tuple[str, np.ndarray]]:
    """Return split name -> (part that holds its images, their indices in shuffled order)."""
    shuffled = {
        part: splitting.order_by_hash(source.relative_paths(), seed)
        for part, source in parts.items()
    }
    if "all" in parts:
        three = splitting.split_three_ways(parts["all"].labels, shuffled["all"], name, class_names)
        return {
            split: ("all", rows)
            for split, rows in zip(("train", "validation", "test"), three, strict=True)
        }
    indices = {part: (part, rows) for part, rows in shuffled.items()}
    if "validation" not in parts:
        train, validation = splitting.split_two_ways(
            parts["train"].labels, shuffled["train"], name, class_names
        )
        indices |= {"train": ("train", train), "validation": ("train", validation)}
    return indices
