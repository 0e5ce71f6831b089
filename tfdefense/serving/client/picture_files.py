"""Input files of a purification, and pictures that it writes."""

import io
from pathlib import Path

import numpy as np
from PIL import Image

from tfdefense.data.core.file_listing import describe_left_out, list_files
from tfdefense.data.core.image_reader import SUFFIXES
from tfdefense.errors import require
from tfdefense.utils.progress import print_line
from tfdefense.utils.untrusted_file import require_regular_file

ARCHIVE_SUFFIX = ".npz"
_JPEG_SUFFIXES = (".jpg", ".jpeg", ".jpe", ".jfif")
_JPEG_QUALITY = 95


def save_picture(image: np.ndarray, path: Path) -> None:
    """Write a float image [H, W, C] in [0, 1] in the format of the suffix, lossless if it can be."""
    pixels = np.round(255 * np.clip(image, 0, 1)).astype(np.uint8)
    picture = Image.fromarray(pixels[..., 0] if pixels.shape[-1] == 1 else pixels)
    suffix = path.suffix.lower()
    options = {"quality": _JPEG_QUALITY} if suffix in _JPEG_SUFFIXES else {}
    encoded = io.BytesIO()  # Pillow's errors for a full disk do not say that it is full.
    kind = Image.registered_extensions()[suffix]
    picture.save(encoded, kind, **({"lossless": True} if suffix == ".webp" else options))
    path.write_bytes(encoded.getbuffer())


def list_inputs(source: Path) -> list[Path]:
    """Return the files to purify, a folder's or the one given; print one line on those left out.

    Raises:
      UserError: there are none, or the one is not a regular file.
    """
    suffixes = (*SUFFIXES, ARCHIVE_SUFFIX)
    if not source.is_dir():
        require_regular_file(source, f"--input={source}")
    files, left_out = list_files(source, suffixes) if source.is_dir() else ([source], [])
    files = [path for path in files if path.suffix.lower() in suffixes]
    others = f"; {describe_left_out(left_out, source)}" if left_out else "."
    require(bool(files), f"--input={source}: no {', '.join(suffixes)} files in it{others}")
    if left_out:
        print_line(f"--input={source}: {describe_left_out(left_out, source)}")
    return files
