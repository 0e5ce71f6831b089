"""Image files on disk: their sizes, their fingerprint, and their pixels."""

import contextlib
import json
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import PIL
from PIL import Image, ImageOps, features

from tfdefense.data.core.file_hashes import hash_files
from tfdefense.data.core.image_source import Batch
from tfdefense.errors import UserError, require
from tfdefense.utils.hashing import hash_parts
from tfdefense.utils.progress import ProgressBar

SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".webp")
_GREY_MODES = ("1", "L", "LA", "I", "I;16", "F")
_BATCH = 256
_ORIENTATION = 0x0112
# Raise it whenever the functions below give other pixels than before.
_DECODER_VERSION = 1
_CODECS = ("jpg", "libjpeg_turbo", "webp", "zlib")


class ImageFiles:
    """Image files as an `ImageSource`.

    Args:
      name: short name for progress bars and messages.
      root: the directory that the paths are relative to in fingerprints.
      paths: N files below `root`.
      labels: integers [N].
      image_shape: the shape (H, W, C) of the decoded images, with C = 1 or 3.
    """

    def __init__(
        self,
        name: str,
        root: Path,
        paths: Sequence[Path],
        labels: np.ndarray,
        image_shape: tuple[int, int, int],
    ) -> None:
        self.name = name
        self.root = root
        self.paths = paths
        self.labels = labels
        self.shape = (len(paths), *image_shape)

    def relative_paths(self) -> list[str]:
        """Return the paths relative to `root`, with "/" between folders."""
        return [path.relative_to(self.root).as_posix() for path in self.paths]

    def fingerprint(self) -> str:
        """Return a hash of all files' paths and bytes, labels, shape, and the decoder's versions."""
        versions = [PIL.__version__, *(features.version(codec) for codec in _CODECS)]
        about = ["image files", _DECODER_VERSION, versions, self.shape, self.relative_paths()]
        hashes = hash_files(self.paths, [1] * len(self.paths), f"checking {self.name}")
        return hash_parts([json.dumps(about).encode(), *hashes, self.labels])

    def decode(self) -> Iterator[Batch]:
        """Decode the files in their order, 256 per batch.

        Raises:
          UserError: a file is not an image, or is damaged.
        """
        for start in range(0, len(self.paths), _BATCH):
            rows = slice(start, start + _BATCH)
            images = [read_image(path, self.shape[1:]) for path in self.paths[rows]]
            yield np.stack(images), self.labels[rows]


def survey_images(
    paths: Sequence[Path], name: str, image_size: tuple[int, int] | None
) -> tuple[int, tuple[int, int]]:
    """Return the number of channels and the (height, width) of images, from the files' headers.

    Args:
      paths: one file or more.
      name: the dataset as given on the command line, for error messages.
      image_size: (height, width) to which images are resized; None if they keep their size.

    Raises:
      UserError: a file is not an image, or sizes differ and `image_size` is None.
    """
    grey, sizes = True, []
    with ProgressBar(f"reading the sizes of {name}", len(paths)) as progress:
        for path in paths:
            with _open_image(path) as image:
                grey = grey and image.mode in _GREY_MODES
                sizes.append(_turn_upright(image).size)
            require(
                sizes[-1] == sizes[0] or image_size is not None,
                f"--dataset={name}: images of different sizes"
                f" ({paths[0].name} {_format_size(sizes[0])}, {path.name}"
                f" {_format_size(sizes[-1])}). Give one size: --image_size=32, or HEIGHTxWIDTH.",
            )
            progress.advance(1)
    width, height = sizes[0]
    return (1 if grey else 3), image_size or (height, width)


def read_image(path: Path, image_shape: tuple[int, int, int]) -> np.ndarray:
    """Read an image file as uint8 [H, W, C], turned upright and resized if necessary.

    Raises:
      UserError: it is not an image, or is damaged.
    """
    height, width, channels = image_shape
    with _open_image(path) as opened:
        image = _turn_upright(opened)
        if image.mode in ("I", "I;16", "F"):  # 16 bits per pixel; Pillow would clip them at 255.
            image = Image.fromarray((np.asarray(image) / 257).clip(0, 255).astype(np.uint8))
        image = image.convert("L" if channels == 1 else "RGB")
        if image.size != (width, height):
            image = image.resize((width, height), Image.Resampling.BILINEAR)
        return np.asarray(image, np.uint8).reshape(height, width, channels)


def _turn_upright(image: Image.Image) -> Image.Image:
    """Turn an image as the orientation in its EXIF data says.

    PNG files are not turned: they rarely have EXIF data, and all of the file would have to be read.
    """
    turned = image.format != "PNG" and image.getexif().get(_ORIENTATION, 1) != 1
    return ImageOps.exif_transpose(image) if turned else image


@contextlib.contextmanager
def _open_image(path: Path) -> Iterator[Image.Image]:
    try:
        with Image.open(path) as image:
            yield image
    except Exception as error:  # Pillow has another exception for each kind of damage.
        raise UserError(
            f"{path}: not an image, or a damaged one ({type(error).__name__})."
        ) from error


def _format_size(size: tuple[int, int]) -> str:
    """Format Pillow's (width, height) as HEIGHTxWIDTH."""
    return f"{size[1]}x{size[0]}"
