"""Reproducible splits of images for sources that do not define their own."""

import hashlib
from collections.abc import Sequence

import numpy as np

from tfdefense.errors import require

_TEST_SHARE = 0.1
_VALIDATION_SHARE = 0.1
_MAX_VALIDATION_IMAGES = 2_000


def order_by_hash(keys: Sequence[str], seed: int) -> np.ndarray:
    """Return a shuffled order of `keys` that depends on the keys and on `seed` alone.

    The place of each key follows from its own hash. So the same files are split in the same way on
    every machine, and a new file leaves the relative order of the others unchanged.

    Args:
      keys: N names, all different.
      seed: different seeds give independent orders.

    Returns:
      Indices of `keys`, int64 [N].
    """
    hashes = [hashlib.blake2b(f"{seed}/{key}".encode(), digest_size=8).digest() for key in keys]
    return np.array(sorted(range(len(keys)), key=hashes.__getitem__), np.int64)


def hold_out(
    labels: np.ndarray, shuffled: np.ndarray, share: float, maximum: int | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Hold out the same share of each class.

    Args:
      labels: integers [N], of all examples.
      shuffled: indices of the examples to divide. The first ones of each class are held out.
      share: the share to hold out, in (0, 1). At least one example of each class is held out.
      maximum: an upper bound on `share * len(shuffled)`, or None.

    Returns:
      The other indices, and the indices that are held out. Both are in the order of `shuffled`.
    """
    if maximum is not None:
        share = min(share, maximum / len(shuffled))
    held = np.zeros(len(labels), bool)
    for label in np.unique(labels[shuffled]):
        members = shuffled[labels[shuffled] == label]
        held[members[: max(1, round(share * len(members)))]] = True
    return shuffled[~held[shuffled]], shuffled[held[shuffled]]


def split_three_ways(
    labels: np.ndarray, shuffled: np.ndarray, name: str, class_names: Sequence[str]
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return indices for training, validation and test: 80, 10 and 10 % of each class.

    Args:
      labels: integers [N] in [0, len(class_names)).
      shuffled: a permutation of the N indices, from `order_by_hash`.
      name: the dataset as given on the command line, for error messages.
      class_names: for error messages.

    Raises:
      UserError: a class has fewer than three images.
    """
    _require_images(labels, 3, name, class_names)
    rest, test = hold_out(labels, shuffled, _TEST_SHARE)
    train, validation = hold_out(labels, rest, _VALIDATION_SHARE / (1 - _TEST_SHARE))
    return train, validation, test


def split_two_ways(
    labels: np.ndarray, shuffled: np.ndarray, name: str, class_names: Sequence[str]
) -> tuple[np.ndarray, np.ndarray]:
    """Return indices for training and validation, for a source with separate test images.

    Validation takes 10 % of each class, or about 2,000 images in total if 10 % are more.

    Args:
      labels: see `split_three_ways`.
      shuffled: see `split_three_ways`.
      name: see `split_three_ways`.
      class_names: see `split_three_ways`.

    Raises:
      UserError: a class has fewer than two images.
    """
    _require_images(labels, 2, name, class_names)
    return hold_out(labels, shuffled, _VALIDATION_SHARE, _MAX_VALIDATION_IMAGES)


def _require_images(
    labels: np.ndarray, minimum: int, name: str, class_names: Sequence[str]
) -> None:
    for label, class_name in enumerate(class_names):
        count = int(np.sum(labels == label))
        require(
            count >= minimum,
            f"--dataset={name}: class {class_name!r} has {count} images; at least {minimum} are"
            " needed for the splits.",
        )
