"""Decoded images of a source: from the cache, in memory, or in a temporary file."""

import dataclasses

import numpy as np

from tfdefense.data.core.brightness import IMAGES_LOOKED_AT, report_nearly_black
from tfdefense.data.core.disk_array import DiskArray, as_images, fits_memory
from tfdefense.data.core.image_cache import ImageCache
from tfdefense.data.core.image_source import ImageSource, decode_with_progress


@dataclasses.dataclass(frozen=True)
class DecodedImages:
    """All images of a source, and their labels.

    Attributes:
      stored: uint8 [N, H, W, C]: an array in memory, a cached file that is mapped into memory, or a
        `DiskArray` that returns float32 in [0, 1].
      labels: int64 [N].
    """

    stored: np.ndarray | DiskArray
    labels: np.ndarray

    def select(self, indices: np.ndarray | slice = slice(None)) -> np.ndarray | DiskArray:
        """Return the images at `indices`, float32 in [0, 1]: in memory if they fit, else on disk."""
        shape = self.stored.shape
        count = len(np.arange(shape[0])[indices])
        if isinstance(self.stored, DiskArray):
            on_disk = self.stored.select(indices)
            return on_disk[:] if fits_memory((count, *shape[1:])) else on_disk
        if isinstance(self.stored, np.memmap) and not fits_memory((count, *shape[1:])):
            return DiskArray(shape, np.uint8, as_images, stored=self.stored).select(indices)
        return as_images(np.asarray(self.stored)[indices])


def decode_images(source: ImageSource) -> DecodedImages:
    """Return the images of a source, from the cache if it has them.

    Without a cache, small sets are decoded into memory and others into a temporary file, so that
    memory does not grow with their number.

    Raises:
      UserError: a file is damaged, or TFDEFENSE_CACHE_GIB is not a number.
      WorkFailedError: neither the cache nor the temporary directory has space for the images.
    """
    cache = ImageCache.from_environment()
    entry = cache.open_or_create(source) if cache else None
    decoded = _decode(source) if entry is None else DecodedImages(*entry)
    report_nearly_black(
        decoded.select(slice(IMAGES_LOOKED_AT)),
        source.name,
        "Files with more than 8 bits for each value are read as 16 bits, and the upper 8 are used. Scale"
        " the values first.",
    )
    return decoded


def _decode(source: ImageSource) -> DecodedImages:
    stored = (
        np.empty(source.shape, np.uint8)
        if fits_memory(source.shape)
        else DiskArray(source.shape, np.uint8, as_images)
    )
    parts, done = [], 0
    for images, labels in decode_with_progress(source):
        stored[done : done + len(images)] = images
        done += len(images)
        parts.append(labels)
    return DecodedImages(stored, np.concatenate(parts).astype(np.int64))
