"""From a stream of decoded images to an array, in memory or on disk."""

from collections.abc import Iterable

import numpy as np

from tfdefense.data.core.disk_array import DiskArray, as_images, fits_memory
from tfdefense.utils.progress import ProgressBar


def collected(
    batches: Iterable[np.ndarray], count: int, image_shape: tuple[int, int, int], what: str
) -> np.ndarray | DiskArray:
    """Images that arrive in batches, uint8 [n, H, W, C], as one array that gives float32 in [0, 1].

    Small sets are float32 in memory; others go to a temporary file as they come, so that memory does not
    grow with their number.

    Args:
      batches: `count` images in all.
      count, image_shape: of the result.
      what: shown beside the progress bar.

    Raises:
      ValueError: there are not `count` images.
      WorkFailedError: the disk is full.
    """
    shape = (count, *image_shape)
    in_memory = fits_memory(shape)
    images = np.empty(shape, np.float32) if in_memory else DiskArray(shape, np.uint8, as_images)
    done = 0
    with ProgressBar(what, count) as progress:
        for batch in batches:
            rows = slice(done, done + len(batch))
            images[rows] = as_images(batch) if in_memory else batch
            done += len(batch)
            progress.advance(len(batch))
    if done != count:
        raise ValueError(f"{done:,} images came where {count:,} were announced")
    return images
