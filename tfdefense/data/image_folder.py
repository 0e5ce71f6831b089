"""Images in folders, one folder a class: `--dataset=dir:PATH`."""

import contextlib
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps

from tfdefense.data.core import splitting
from tfdefense.data.core.dataset import DataOptions, Dataset, Split, slug
from tfdefense.data.core.decoded_images import collected
from tfdefense.errors import UserError, require
from tfdefense.utils.progress import ProgressBar

_SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".webp")
_GREY_MODES = ("1", "L", "LA", "I", "I;16", "F")
_BATCH = 256
_ORIENTATION = 0x0112
_TRAIN, _TEST, _VALIDATION = ("train",), ("test",), ("validation", "val", "valid")


def load_image_folder(name: str, options: DataOptions) -> Dataset:
    """A folder of images for each class: `PATH/CLASS/*.png`, or `PATH/train/CLASS/*` and `PATH/test/CLASS/*`.

    With folders `train` and `test` (and perhaps `validation` or `val`) their images are the splits;
    otherwise `options.split_seed` draws 80, 10 and 10 % of each class. Classes are numbered in the order
    of their folders' names. Images are grey if all are grey, else RGB.

    Args:
      name: "dir:PATH".
      options: `image_size` resizes all images; needed where they differ.

    Raises:
      UserError: no such folder, no classes or only one, an empty one, a file that is no image, images of
        different sizes, too few to split.
    """
    root = Path(name.removeprefix("dir:"))
    require(root.is_dir(), f"--dataset={name}: no such directory.")
    parts = _parts(root, name)
    class_names = tuple(sorted(path.name for path in _folders(next(iter(parts.values())))))
    found = {part: _files(folder, class_names, name) for part, folder in parts.items()}
    channels, size = _survey([path for files, _ in found.values() for path in files], name, options)

    def split_of(chosen: Sequence[Path], labels: np.ndarray, part: str) -> Split:
        decoded = _decoded(chosen, channels, size)
        images = collected(decoded, len(chosen), (*size, channels), f"{slug(root)} {part}")
        return Split(images, labels, len(class_names), dataset=f"dir-{slug(root)}")

    splits = {
        part: split_of([files[i] for i in indices], labels[indices], part)
        for part, files, labels, indices in _divided(found, root, options, name, class_names)
    }
    return Dataset(
        name=f"dir-{slug(root)}",
        class_names=class_names,
        source=f"dir:{root.resolve()}",
        options=options.settings(),
        **splits,
    )


def _parts(root: Path, name: str) -> dict[str, Path]:
    """Split name -> its folder; only "all" where the folders below `root` are classes."""
    below = {path.name.lower(): path for path in _folders(root)}
    named = {
        part: next((below[alias] for alias in aliases if alias in below), None)
        for part, aliases in (("train", _TRAIN), ("validation", _VALIDATION), ("test", _TEST))
    }
    if named["train"] is None:
        return {"all": root}
    require(
        named["test"] is not None,
        f"--dataset={name}: has a folder train but no folder test; both needed, or classes only.",
    )
    return {part: folder for part, folder in named.items() if folder is not None}


def _folders(folder: Path) -> list[Path]:
    return [path for path in folder.iterdir() if path.is_dir() and not path.name.startswith(".")]


def _files(folder: Path, class_names: Sequence[str], name: str) -> tuple[list[Path], np.ndarray]:
    """All images below `folder` in the order of their names, and their labels."""
    unknown = sorted({path.name for path in _folders(folder)} - set(class_names))
    require(
        not unknown,
        f"--dataset={name}: {folder} has the class {unknown and unknown[0]!r}, which training has not.",
    )
    require(
        len(class_names) >= 2,
        f"--dataset={name}: {len(class_names)} folders in {folder}, one for each of two or more classes"
        " needed.",
    )
    files, labels = [], []
    for label, class_name in enumerate(class_names):
        inside = sorted(
            path
            for path in (folder / class_name).rglob("*")
            if path.suffix.lower() in _SUFFIXES and not path.name.startswith(".")
        )
        require(
            len(inside) > 0,
            f"--dataset={name}: no images ({', '.join(_SUFFIXES)}) in {folder / class_name}.",
        )
        files += inside
        labels += [label] * len(inside)
    return files, np.array(labels, np.int32)


def _survey(files: Sequence[Path], name: str, options: DataOptions) -> tuple[int, tuple[int, int]]:
    """Channels and size of all images, from the heads of their files."""
    grey, first = True, None
    with ProgressBar(f"reading the sizes of {name}", len(files)) as progress:
        for path in files:
            with _opened(path) as image:
                grey = grey and image.mode in _GREY_MODES
                size = _upright(image).size
            first = first or (size, path)
            require(
                size == first[0] or options.image_size is not None,
                f"--dataset={name}: images of different sizes ({first[1].name} {_shown(first[0])},"
                f" {path.name} {_shown(size)}). Give one for all: --image_size=32, or HEIGHTxWIDTH.",
            )
            progress.advance(1)
    width, height = first[0]
    return (1 if grey else 3), options.image_size or (height, width)


def _decoded(files: Sequence[Path], channels: int, size: tuple[int, int]) -> Iterator[np.ndarray]:
    for start in range(0, len(files), _BATCH):
        yield np.stack([_pixels(path, channels, size) for path in files[start : start + _BATCH]])


def _pixels(path: Path, channels: int, size: tuple[int, int]) -> np.ndarray:
    """uint8 [H, W, C]."""
    height, width = size
    with _opened(path) as image:
        image = _upright(image)
        if image.mode in ("I", "I;16", "F"):  # Sixteen bits a pixel: Pillow would clip them.
            image = Image.fromarray((np.asarray(image) / 257).clip(0, 255).astype(np.uint8))
        image = image.convert("L" if channels == 1 else "RGB")
        if image.size != (width, height):
            image = image.resize((width, height), Image.Resampling.BILINEAR)
        return np.asarray(image, np.uint8).reshape(height, width, channels)


def _upright(image: Image.Image) -> Image.Image:
    """As a camera's EXIF tag says that it was held. PNG has none worth reading the whole file for."""
    turned = image.format != "PNG" and image.getexif().get(_ORIENTATION, 1) != 1
    return ImageOps.exif_transpose(image) if turned else image


@contextlib.contextmanager
def _opened(path: Path) -> Iterator[Image.Image]:
    try:
        with Image.open(path) as image:
            yield image
    except Exception as error:  # Pillow raises a different type for every kind of damage.
        raise UserError(
            f"{path}: not an image, or a damaged one ({type(error).__name__})."
        ) from error


def _divided(
    found: dict[str, tuple[list[Path], np.ndarray]],
    root: Path,
    options: DataOptions,
    name: str,
    class_names: Sequence[str],
) -> Iterator[tuple[str, list[Path], np.ndarray, np.ndarray]]:
    """(split, files, labels, indices) for each of the three splits, in shuffled order."""

    def shuffled(files: Sequence[Path]) -> np.ndarray:
        keys = [path.relative_to(root).as_posix() for path in files]
        return splitting.order(keys, options.split_seed)

    if "all" in found:
        files, labels = found["all"]
        indices = splitting.three_ways(labels, shuffled(files), name, class_names)
        for part, chosen in zip(("train", "validation", "test"), indices, strict=True):
            yield part, files, labels, chosen
        return
    files, labels = found["train"]
    train = shuffled(files)
    if "validation" in found:
        yield "validation", *found["validation"], shuffled(found["validation"][0])
    else:
        train, validation = splitting.two_ways(labels, train, name, class_names)
        yield "validation", files, labels, validation
    yield "train", files, labels, train
    yield "test", *found["test"], shuffled(found["test"][0])


def _shown(size: tuple[int, int]) -> str:
    return f"{size[1]}x{size[0]}"
