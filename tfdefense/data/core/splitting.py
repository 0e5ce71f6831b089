"""Reproducible splits of images for sources that do not define their own."""

import hashlib
from collections.abc import Mapping, Sequence

import numpy as np

from tfdefense.errors import require
from tfdefense.utils.progress import print_once

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
    hashes = [_hash_key(f"{seed}/{key}") for key in keys]
    return np.array(sorted(range(len(keys)), key=hashes.__getitem__), np.int64)


def order_rows(count: int, seed: int) -> np.ndarray:
    """Return the rows 0 to `count` - 1 in the order of the hash of (seed, row)."""
    return order_by_hash([str(row) for row in range(count)], seed)


def shuffle_sorted_splits(labels: Mapping[str, np.ndarray], name: str) -> dict[str, np.ndarray]:
    """Return a random order, always the same one, for each split that is sorted by class.

    Attacks, validations and `--train_images` take the first images, which would be of few classes.
    One line names these splits.

    Args:
      labels: split name -> labels of its images in their own order, integers [N].
      name: the dataset as given on the command line, for the line.

    Returns:
      Split name -> indices of its images, int64 [N]; only of splits that are sorted by class.
    """
    orders = {
        split: order_rows(len(each), seed=0) for split, each in labels.items() if _is_by_class(each)
    }
    if orders:
        print_once(
            f"--dataset={name}: its {' and '.join(orders)} images are sorted by class. They are used in a"
            " random order, always the same one."
        )
    return orders


def _is_by_class(labels: np.ndarray) -> bool:
    """Return whether the class changes less than half as often as in a random order."""
    shares = np.unique(labels, return_counts=True)[1] / len(labels)
    changes = np.count_nonzero(np.diff(labels))
    return bool(changes < (len(labels) - 1) * (1 - np.sum(shares**2)) / 2)


def _hash_key(key: str) -> bytes:
    # A file name that is not UTF-8 has surrogates.
    return hashlib.blake2b(key.encode("utf-8", "surrogateescape"), digest_size=8).digest()


def hold_out(
    labels: np.ndarray,
    shuffled: np.ndarray,
    share: float,
    maximum: int | None = None,
    *,
    stratified: bool = True,
) -> tuple[np.ndarray, np.ndarray]:
    """Hold out the same share of each class, or a share of all examples.

    Args:
      labels: integers [N], of all examples.
      shuffled: indices of the examples to divide. The first ones of each class are held out.
      share: the share to hold out, in (0, 1). At least one example is held out, of each class if the
        split is stratified.
      maximum: an upper bound on `share * len(shuffled)`, or None.
      stratified: hold out a share of each class.

    Returns:
      The other indices, and the indices that are held out. Both are in the order of `shuffled`.
    """
    if maximum is not None:
        share = min(share, maximum / len(shuffled))
    groups = [shuffled]
    if stratified:
        groups = [shuffled[labels[shuffled] == label] for label in np.unique(labels[shuffled])]
    held = np.zeros(len(labels), bool)
    for members in groups:
        held[members[: max(1, round(share * len(members)))]] = True
    return shuffled[~held[shuffled]], shuffled[held[shuffled]]


def plan_splits(
    labels: Mapping[str, np.ndarray],
    orders: Mapping[str, np.ndarray],
    name: str,
    class_names: Sequence[str],
) -> dict[str, tuple[str, np.ndarray]]:
    """Return training, validation and test images, where the missing splits are drawn.

    Args:
      labels: part -> labels, integers. Parts are "all", or "train" with "validation", "test" or both.
      orders: part -> indices of its labels in shuffled order, from `order_by_hash`.
      name: the dataset as given on the command line, for messages.
      class_names: K names, for messages.

    Returns:
      Split name -> (part that holds its images, their indices).

    Raises:
      UserError: a class has no training images, or there are too few images for the splits.
    """
    if "all" in orders:
        three = split_three_ways(labels["all"], orders["all"], name, class_names)
        names = ("train", "validation", "test")
        return {split: ("all", rows) for split, rows in zip(names, three, strict=True)}
    planned = {part: (part, rows) for part, rows in orders.items()}
    train, train_labels = orders["train"], labels["train"]
    _require_all_classes(train_labels[train], "training images", name, class_names)
    if "test" not in orders:
        stratified = _is_stratified(train_labels[train], 2, name, class_names)
        train, test = hold_out(train_labels, train, _TEST_SHARE, stratified=stratified)
        planned["test"] = ("train", test)
        print_once(
            f"--dataset={name}: has no test images; {len(test):,} of the training images, drawn by"
            " --split_seed, are its test images."
        )
    if "validation" not in orders:
        train, validation = split_two_ways(train_labels, train, name, class_names)
        planned["validation"] = ("train", validation)
    return planned | {"train": ("train", train)}


def split_three_ways(
    labels: np.ndarray, shuffled: np.ndarray, name: str, class_names: Sequence[str]
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return indices for training, validation and test: 80, 10 and 10 %.

    These are shares of each class if each has three images or more. Otherwise they are shares of all
    images, and one line says so.

    Args:
      labels: integers [N] in [0, len(class_names)).
      shuffled: N indices or fewer, from `order_by_hash`.
      name: the dataset as given on the command line, for messages.
      class_names: for messages.

    Raises:
      UserError: a class has no images, or there are fewer than three images.
    """
    stratified = _is_stratified(labels[shuffled], 3, name, class_names)
    rest, test = hold_out(labels, shuffled, _TEST_SHARE, stratified=stratified)
    train, validation = hold_out(
        labels, rest, _VALIDATION_SHARE / (1 - _TEST_SHARE), stratified=stratified
    )
    return train, validation, test


def split_two_ways(
    labels: np.ndarray, shuffled: np.ndarray, name: str, class_names: Sequence[str]
) -> tuple[np.ndarray, np.ndarray]:
    """Return indices for training and validation, for a source with separate test images.

    Validation takes 10 % of each class, or about 2,000 images in total if 10 % are more. If a class
    has one image only, they are shares of all images, and one line says so.

    Args:
      labels: see `split_three_ways`.
      shuffled: see `split_three_ways`.
      name: see `split_three_ways`.
      class_names: see `split_three_ways`.

    Raises:
      UserError: a class has no images, or there are fewer than two images.
    """
    stratified = _is_stratified(labels[shuffled], 2, name, class_names)
    return hold_out(
        labels, shuffled, _VALIDATION_SHARE, _MAX_VALIDATION_IMAGES, stratified=stratified
    )


def _is_stratified(labels: np.ndarray, minimum: int, name: str, class_names: Sequence[str]) -> bool:
    """Return whether each class has `minimum` images; print a line if one has fewer.

    Raises:
      UserError: a class has no images, or all classes together have fewer than `minimum`.
    """
    needed = f"images; at least {minimum} are needed for the splits"
    _require_all_classes(labels, needed, name, class_names)
    counts = np.bincount(labels, minlength=len(class_names))
    few = [
        class_name for class_name, count in zip(class_names, counts, strict=True) if count < minimum
    ]
    if not few:
        return True
    require(
        len(labels) >= minimum,
        f"--dataset={name}: {len(labels)} images; at least {minimum} are needed for the splits.",
    )
    print_once(
        f"--dataset={name}: {len(few):,} of {len(class_names):,} classes have fewer than {minimum}"
        " images, so the splits are drawn from all images together, not from each class."
    )
    return False


def _require_all_classes(
    labels: np.ndarray, needed: str, name: str, class_names: Sequence[str]
) -> None:
    """Raise `UserError` if a class has none of the images that `needed` describes."""
    counts = np.bincount(labels, minlength=len(class_names))
    first = int(np.argmin(counts))
    is_number = class_names[first] == str(first)
    hint = " Class numbers begin at 0, and leave none out." if is_number else ""
    require(
        counts.min() > 0,
        f"--dataset={name}: class {class_names[first]!r} has 0 {needed}.{hint}",
    )
