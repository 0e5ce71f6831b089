"""Hash that tells one split's results from those of another."""

import itertools

from tfdefense.data.core.dataset import Split
from tfdefense.utils.hashing import hash_parts

_IMAGES_PER_PART = 1_000


def data_fingerprint(split: Split) -> str:
    """Return a hash of the images and labels, equal for arrays in memory and on disk."""
    images = split.images
    head = f"{images.dtype}{images.shape}".encode()
    starts = range(0, len(split), _IMAGES_PER_PART)
    parts = (images[start : start + _IMAGES_PER_PART].tobytes() for start in starts)
    return hash_parts(itertools.chain([head], parts, [split.labels]))
