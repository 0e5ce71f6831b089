"""The one reader of image files: all code that opens pictures of users calls it.

A PNG or JPEG is decoded by `image_decoding`, with the operations of exported models. Any other format
first becomes an upright PNG of 8 bits, which has the same pixels.
"""

import contextlib
import functools
import io
import warnings
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

import numpy as np
import PIL
import tensorflow as tf
from PIL import Image, ImageOps, features

from tfdefense.data.core.exif_orientation import exif_orientation
from tfdefense.data.core.image_decoding import (
    JPEG_SIGNATURE,
    PNG_SIGNATURE,
    decode_pixels,
    fit_pixels,
)
from tfdefense.data.core.pixel_budget import PixelBudget
from tfdefense.errors import UserError, require
from tfdefense.utils.graph_checks import rejection_reason
from tfdefense.utils.untrusted_file import irregular_kind

# Formats by their names in Pillow, and the suffixes of their files.
FORMATS = ("PNG", "JPEG", "BMP", "GIF", "WEBP", "TIFF", "PPM")
SUFFIXES = (
    *(".png", ".jpg", ".jpeg", ".jpe", ".jfif", ".bmp", ".gif", ".webp", ".tif", ".tiff"),
    *(".ppm", ".pgm", ".pbm", ".pnm"),
)
# Raise it whenever the functions below give other pixels than before.
_DECODER_VERSION = 3
_CODECS = ("webp", "libtiff", "zlib")
# The limit of Pillow, from which it refuses an image as a decompression bomb.
_MAX_PIXELS = 178_956_970
_MAX_BYTES = 2**31
_GREY_MODES = ("1", "L", "LA", "La", "I", "I;16", "I;16B", "I;16L")
_DEEP_MODES = ("I", "I;16", "I;16B", "I;16L")
_NOT_AN_IMAGE = "not an image, or a damaged one"
_THREADS = 4
# Decoding, conversion and resizing take up to 25 bytes a pixel: 1.7 GB for these images together.
_PIXELS_AT_ONCE = PixelBudget(2**26)
_FILE, _PIXELS = tf.TensorSpec([], tf.string), tf.TensorSpec([None, None, None], tf.uint8)
_EXIF_MARKS = (b"Exif\0\0", b"eXIf")


class ImageHeader(NamedTuple):
    """Size of an image once it is upright, and the kind of its pixels."""

    height: int
    width: int
    is_grey: bool


def decoder_versions() -> list[object]:
    """Return everything that pixels depend on except the files, as JSON can hold it."""
    codecs = [features.version(codec) for codec in _CODECS]
    return [_DECODER_VERSION, tf.__version__, PIL.__version__, *codecs]


def read_encoded(path: Path) -> bytes:
    """Return a file as PNG or JPEG: its own bytes, or an upright PNG if it has another format.

    Raises:
      UserError: it cannot be read, is not an image, or is damaged; the message has no path.
    """
    try:
        kind, size = irregular_kind(path), path.stat().st_size
        require(not kind, f"{kind}; a regular file is needed")
        require(size <= _MAX_BYTES, f"{size:,} bytes; at most {_MAX_BYTES:,} are accepted")
        encoded = path.read_bytes()
    except OSError as error:
        raise UserError(f"cannot be read ({error.strerror})") from error
    if encoded.startswith((PNG_SIGNATURE, JPEG_SIGNATURE)):
        return encoded
    with (
        _pillow_errors(),
        _open_image(encoded) as opened,
        _PIXELS_AT_ONCE.take(opened.width * opened.height),
    ):
        upright = ImageOps.exif_transpose(opened)
        return _to_png(_to_eight_bits(upright))


def read_upright(path: Path) -> bytes:
    """Return a file as `read_encoded` does; as an upright PNG if its EXIF orientation is not 1.

    Models that older versions exported ignore the orientation.

    Raises:
      UserError: see `read_encoded`.
    """
    encoded = read_encoded(path)
    if _read_orientation(encoded) == 1:
        return encoded
    pixels = _run(_compiled_decoder(), encoded).numpy()
    return _to_png(Image.fromarray(pixels[..., 0] if pixels.shape[-1] == 1 else pixels))


def read_header(path: Path) -> ImageHeader:
    """Read the size of an image and the kind of its pixels, without decoding a PNG or JPEG.

    Raises:
      UserError: see `read_encoded`.
    """
    encoded = read_encoded(path)
    with _pillow_errors(), _open_image(encoded) as image:
        width, height = image.size
        is_grey = image.mode in _GREY_MODES
    if _read_orientation(encoded) >= 5:
        width, height = height, width
    return ImageHeader(height, width, is_grey)


def decode_files(
    paths: Sequence[Path], image_shape: tuple[int, int, int]
) -> tuple[np.ndarray, dict[int, str]]:
    """Decode image files, upright, and fit them to one shape.

    Args:
      paths: N files.
      image_shape: (H, W, C), with C = 1 or 3.

    Returns:
      uint8 [N, H, W, C], black for files that cannot be used; and index -> reason for these files.
    """
    decode, fit = _compiled_decoder(), _compiled_fit(tuple(image_shape))

    def read(path: Path) -> np.ndarray | str:
        try:
            encoded = read_encoded(path)
            with _PIXELS_AT_ONCE.take(_count_pixels(encoded)):
                return _run(fit, _run(decode, encoded)).numpy()
        except UserError as error:
            return str(error)

    images, reasons = np.zeros((len(paths), *image_shape), np.uint8), {}
    with ThreadPoolExecutor(_THREADS) as threads:
        for index, pixels in enumerate(threads.map(read, paths)):
            if isinstance(pixels, str):
                reasons[index] = pixels
            else:
                images[index] = pixels
    return images, reasons


@functools.cache
def _compiled_decoder() -> Callable[[tf.Tensor], tf.Tensor]:
    return _compile(lambda encoded: decode_pixels(encoded, _MAX_PIXELS), _FILE)


@functools.lru_cache(maxsize=16)
def _compiled_fit(image_shape: tuple[int, int, int]) -> Callable[[tf.Tensor], tf.Tensor]:
    return _compile(lambda pixels: fit_pixels(pixels, image_shape), _PIXELS)


@functools.cache
def _compiled_orientation() -> Callable[[tf.Tensor], tf.Tensor]:
    return _compile(
        lambda encoded: exif_orientation(
            encoded, tf.strings.substr(encoded, 0, len(PNG_SIGNATURE)) == PNG_SIGNATURE
        ),
        _FILE,
    )


def _compile(
    function: Callable[[tf.Tensor], tf.Tensor], spec: tf.TensorSpec
) -> Callable[[tf.Tensor], tf.Tensor]:
    return tf.function(function, input_signature=[spec], autograph=False)


def _read_orientation(encoded: bytes) -> int:
    if not any(mark in encoded for mark in _EXIF_MARKS):
        return 1
    return int(_run(_compiled_orientation(), encoded))


def _count_pixels(encoded: bytes) -> int:
    """Return the pixels of a PNG or JPEG; 0 if it is damaged, so that the decoder refuses it."""
    if encoded.startswith(PNG_SIGNATURE):
        return int.from_bytes(encoded[16:20], "big") * int.from_bytes(encoded[20:24], "big")
    with contextlib.suppress(tf.errors.OpError):
        height, width, _ = tf.io.extract_jpeg_shape(encoded).numpy().tolist()
        return height * width
    return 0


def _open_image(encoded: bytes) -> Image.Image:
    """Open an image of one of `FORMATS`; its pixels are read later."""
    with warnings.catch_warnings():  # Pillow warns of large images and of damaged EXIF data.
        warnings.simplefilter("ignore")
        return Image.open(io.BytesIO(encoded), formats=FORMATS)


def _to_eight_bits(image: Image.Image) -> Image.Image:
    """Convert an image to grey or RGB of 8 bits; of 16 bits, the upper 8 are taken, as in PNGs."""
    if image.mode in _DEEP_MODES:
        values = np.asarray(image).astype(np.int64)
        require(values.min() >= 0 and values.max() < 2**16, "pixels of more than 16 bits")
        return Image.fromarray((values >> 8).astype(np.uint8))
    require(image.mode != "F", "pixels are floating-point numbers; save it with 8 or 16 bits")
    return image.convert("L" if image.mode in _GREY_MODES else "RGB")


def _to_png(image: Image.Image) -> bytes:
    content = io.BytesIO()
    image.save(content, "PNG", compress_level=1)
    return content.getvalue()


@contextlib.contextmanager
def _pillow_errors() -> Iterator[None]:
    """Convert all exceptions of Pillow to `UserError`."""
    try:
        yield
    except UserError:
        raise
    except MemoryError as error:
        raise UserError("not enough memory to decode it") from error
    except Exception as error:  # Pillow has another exception for each kind of damage.
        raise UserError(f"{_NOT_AN_IMAGE} ({type(error).__name__})") from error


def _run(compiled: Callable[[tf.Tensor], tf.Tensor], value: bytes | tf.Tensor) -> tf.Tensor:
    """Run a compiled function on the CPU; raise `UserError` if it refuses a file."""
    try:
        with tf.device("CPU:0"):
            return compiled(tf.constant(value))
    except tf.errors.OpError as error:
        reason = rejection_reason(error).removeprefix("image_bytes: ")
        raise UserError(f"{_NOT_AN_IMAGE} ({reason.rstrip('.')})") from error
