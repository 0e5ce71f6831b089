"""Which images are for training, validation and test where the source does not say."""

import hashlib
from collections.abc import Sequence

import numpy as np

from tfdefense.errors import require

_TEST_SHARE = 0.1
_VALIDATION_SHARE = 0.1
_MAX_VALIDATION_IMAGES = 2_000


def order(keys: Sequence[str], seed: int) -> np.ndarray:
    """int64 [N]: a shuffled order of `keys` that depends on them and on `seed`, and on nothing else.

    Each key's place comes from its own hash, so the same files split alike on every machine, and a new
    file hardly disturbs the others.
    """
    hashes = [hashlib.blake2b(f"{seed}/{key}".encode(), digest_size=8).digest() for key in keys]
    return np.array(sorted(range(len(keys)), key=hashes.__getitem__), np.int64)


def held_out(
    labels: np.ndarray, shuffled: np.ndarray, share: float, most: int | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Divides the examples of `shuffled` into (the rest, those held out), the same share of each class.

    At least one of each class goes to either side; both keep the order of `shuffled`.
    """
    if most is not None:
        share = min(share, most / len(shuffled))
    held = np.zeros(len(labels), bool)
    for label in np.unique(labels[shuffled]):
        members = shuffled[labels[shuffled] == label]
        held[members[: max(1, round(share * len(members)))]] = True
    return shuffled[~held[shuffled]], shuffled[held[shuffled]]


def three_ways(
    labels: np.ndarray, shuffled: np.ndarray, name: str, class_names: Sequence[str]
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Train, validation and test indices: 80, 10 and 10 % of each class.

    Raises:
      UserError: a class with fewer than three images.
    """
    _require_images(labels, 3, name, class_names)
    rest, test = held_out(labels, shuffled, _TEST_SHARE)
    train, validation = held_out(labels, rest, _VALIDATION_SHARE / (1 - _TEST_SHARE))
    return train, validation, test


def two_ways(
    labels: np.ndarray, shuffled: np.ndarray, name: str, class_names: Sequence[str]
) -> tuple[np.ndarray, np.ndarray]:
    """Train and validation indices where the test images are apart: 90 and 10 %, at most 2,000.

    Raises:
      UserError: a class with fewer than two images.
    """
    _require_images(labels, 2, name, class_names)
    return held_out(labels, shuffled, _VALIDATION_SHARE, _MAX_VALIDATION_IMAGES)


def _require_images(labels: np.ndarray, least: int, name: str, class_names: Sequence[str]) -> None:
    for label, class_name in enumerate(class_names):
        count = int(np.sum(labels == label))
        require(
            count >= least,
            f"--dataset={name}: class {class_name!r} has {count} images, at least {least} needed to split"
            " them.",
        )
