"""Class numbers of labels that are numbers or names."""

import re
from collections.abc import Sequence

import numpy as np

from tfdefense.errors import require

MAX_CLASSES = 100_000
# "3", and "3.0", which tables with missing values have.
_NUMBER = re.compile(r"([0-9]{1,9})(\.0+)?")


def number_labels(
    labels: Sequence[str], names: Sequence[str], dataset: str
) -> tuple[np.ndarray, tuple[str, ...]]:
    """Return class numbers and class names of labels.

    If all labels are whole numbers, they are the class numbers. Otherwise the classes are numbered
    in the alphabetical order of the labels.

    Args:
      labels: N texts.
      names: N class names, for labels that are numbers; "" where there is none.
      dataset: the dataset as given on the command line, for error messages.

    Returns:
      int32 [N], and K class names.

    Raises:
      UserError: fewer than two classes, numbers that are too large, or a number with two names.
    """
    numbers = parse_numbers(labels)
    if numbers is None:
        # Not an array of strings, in which every label takes the memory of the longest one.
        found = tuple(sorted(set(labels)))
        number_of = {class_name: number for number, class_name in enumerate(found)}
        numbers = np.array([number_of[label] for label in labels])
    else:
        highest = int(numbers.max())
        require(
            highest < MAX_CLASSES,
            f"--dataset={dataset}: label {highest} given, classes from 0 to {MAX_CLASSES - 1:,} needed.",
        )
        found = _names_of_numbers(numbers, names, dataset)
    require(
        len(set(numbers.tolist())) >= 2, f"--dataset={dataset}: one class only, two or more needed."
    )
    return numbers.astype(np.int32), found


def parse_numbers(labels: Sequence[str]) -> np.ndarray | None:
    """Return labels that are all whole numbers, such as "3" or "3.0", as int64 [N]; else None."""
    matches = [_NUMBER.fullmatch(label) for label in labels]
    return np.array([int(match[1]) for match in matches if match]) if all(matches) else None


def _names_of_numbers(numbers: np.ndarray, names: Sequence[str], dataset: str) -> tuple[str, ...]:
    known: dict[int, str] = {}
    for number, class_name in zip(numbers.tolist(), names, strict=True):
        if class_name:
            earlier = known.setdefault(number, class_name)
            require(
                earlier == class_name,
                f"--dataset={dataset}: class {number} is named {earlier!r} and {class_name!r}.",
            )
    return tuple(known.get(number, str(number)) for number in range(int(numbers.max()) + 1))
