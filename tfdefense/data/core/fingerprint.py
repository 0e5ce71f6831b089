"""Hash that tells one split's results from those of another."""

import itertools

import numpy as np

from tfdefense.data.core.dataset import Split
from tfdefense.utils.batch_size import fitting_batch_size
from tfdefense.utils.hashing import hash_parts

_IMAGES_PER_PART = 1_000
_SAMPLED_IMAGES = 200


def data_fingerprint(split: Split) -> str:
    """Return a hash of the images and labels, equal for arrays in memory and on disk."""
    images = split.images
    head = f"{images.dtype}{images.shape}".encode()
    size = fitting_batch_size(split.image_shape, _IMAGES_PER_PART)
    starts = range(0, len(split), size)
    parts = (images[start : start + size].tobytes() for start in starts)
    return hash_parts(itertools.chain([head], parts, [split.labels]))


def sampled_fingerprint(split: Split) -> str:
    """Return a hash of all labels, and of up to 200 images, evenly spread.

    It takes no longer for a million images. Images that were added, removed, moved or labelled anew
    change it; other pixels in a single image may not.
    """
    rows = np.linspace(0, len(split) - 1, min(len(split), _SAMPLED_IMAGES)).astype(int)
    return hash_parts([split.labels, data_fingerprint(split.select(rows)).encode()])
