"""Images of users in arrays: checked, and fitted to one shape."""

import math

import numpy as np

from tfdefense.data.core.brightness import report_nearly_black
from tfdefense.data.core.channels import convert_channels
from tfdefense.data.core.dataset import check_images
from tfdefense.data.core.disk_array import DiskArray, as_images, empty_array, fits_memory
from tfdefense.data.core.resizing import resize_images
from tfdefense.errors import require
from tfdefense.utils.batch_size import fitting_batch_size

_BATCH = 500
_ADVICE = (
    "Divide by the largest possible value once, such as 4095 for 12 bits, and store the result as"
    " float32."
)


def check_image_array(images: np.ndarray, place: str) -> np.ndarray:
    """Return images [N, H, W, C], uint8 in [0, 255] or floating point in [0, 1].

    Args:
      images: [N, H, W] or [N, H, W, 1 or 3].
      place: start of error messages.

    Raises:
      UserError: another shape, dtype or range.
    """
    require(
        images.ndim > 0 and images.size > 0, f"{place}: no images (shape {images.shape} given)."
    )
    if images.ndim == 3:
        images = images[..., np.newaxis]
    channels_first = images.ndim == 4 and images.shape[1] in (1, 3)
    require(
        images.ndim == 4 and images.shape[-1] in (1, 3),
        f"{place}: shape {images.shape} given, [N, H, W] or [N, H, W, 1 or 3] needed"
        + (" (channels come last)." if channels_first else "."),
    )
    if images.dtype != np.uint8:
        check_images(images, place)
    require(
        images.dtype != np.uint8 or images.max() != 1,
        f"{place}: uint8 values 0 and 1 given, 0 to 255 needed. Multiply by 255, or store them as"
        " float32.",
    )
    return images


def fit_images(
    images: np.ndarray, image_size: tuple[int, int] | None, channels: int | None, place: str
) -> np.ndarray | DiskArray:
    """Return images float32 [N, height, width, channels] in [0, 1]: in memory if they fit, else on disk.

    On disk, bytes stay bytes unless they are resized. One line warns of nearly black images.

    Args:
      images: result of `check_image_array`.
      image_size: (height, width) to which the images are resized; None keeps their size.
      channels: see `convert_channels`.
      place: start of the warning.

    Raises:
      WorkFailedError: they fit neither into memory nor on disk.
    """
    size = tuple(image_size or images.shape[1:3])
    shape = (len(images), *size, channels or images.shape[-1])
    keeps_bytes = images.dtype == np.uint8 and size == images.shape[1:3] and not fits_memory(shape)
    fitted = (
        DiskArray(shape, np.uint8, as_images) if keeps_bytes else empty_array(shape, np.float32)
    )
    largest = max(images.shape[1:], shape[1:], key=math.prod)
    batch_size = fitting_batch_size(largest, _BATCH)
    for start in range(0, len(images), batch_size):
        rows = slice(start, min(start + batch_size, len(images)))
        part = convert_channels(images[rows], channels)
        fitted[rows] = part if keeps_bytes else resize_images(_to_floats(part), size)
    report_nearly_black(fitted, place, _ADVICE)
    return fitted


def _to_floats(images: np.ndarray) -> np.ndarray:
    """Return images float32 in [0, 1] of images that are uint8 or in [0, 1]."""
    return as_images(images) if images.dtype == np.uint8 else images.astype(np.float32, copy=False)
