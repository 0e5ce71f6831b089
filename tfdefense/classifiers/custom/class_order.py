"""Check of the order of the classes of a custom classifier.

Folders sort their classes by name. A model can have another order: `cat` may be 1 and `dog` 0, or `10`
may follow `9` and not `1`. Its predictions are then wrong in the same way for all images of a class.
"""

from pathlib import Path

import numpy as np
from scipy.optimize import linear_sum_assignment

from tfdefense.classifiers.custom.clear_gain import is_clear_gain, largest_share
from tfdefense.classifiers.custom.description_error import DescriptionError
from tfdefense.data.core.file_listing import shorten_list

_SHOWN = 4  # Classes in the message.
# A network that has hardly learned may read one class as another without an order behind it.
_LEAST_ACCURACY = 0.75


def require_class_order(
    path: Path, predicted: np.ndarray, labels: np.ndarray, class_names: tuple[str, ...]
) -> None:
    """Raise `UserError` if predictions are clearly better with another order of the classes.

    Args:
      path: of the model, for the message.
      predicted: predicted classes, integers [N].
      labels: true classes, integers [N].
      class_names: K names.
    """
    order = _find_order(predicted, labels, len(class_names))
    moved = np.flatnonzero(order != np.arange(len(order)))
    found, given = (
        shorten_list([f"{number} is {class_names[index[number]]}" for number in moved], _SHOWN)
        for index in (order, np.arange(len(order)))
    )
    if moved.size:
        raise DescriptionError(
            f"--classifier={path}: {np.mean(predicted == labels):.0%} of {len(labels)} images are correct,"
            f" and {np.mean(order[predicted] == labels):.0%} with the classes in another order: {found}"
            f" (now: {given}).",
            "Rename the folders so that they sort in the order of the model, or give the class numbers of"
            " the model as labels, with --dataset=csv:FILE.",
            "Save it with its outputs in the order of the classes.",
        )


def _find_order(predicted: np.ndarray, labels: np.ndarray, num_classes: int) -> np.ndarray:
    """Return the class that each class of the model is, integers [K]; [0, 1, ...] if that is unclear.

    The order is chosen on one half of the images, and has to be clearly better on the other half: with
    many classes, some order fits any predictions well.
    """
    given = np.arange(num_classes)
    shuffled = np.random.default_rng(0).permutation(len(labels))
    first, second = np.array_split(shuffled, 2)
    if not len(second):
        return given
    counts = 0.5 * np.eye(num_classes)  # A class that is never predicted keeps its place.
    np.add.at(counts, (predicted[first], labels[first]), 1.0)
    order = np.asarray(linear_sum_assignment(counts, maximize=True)[1])
    better = order[predicted[second]] == labels[second]
    is_better = is_clear_gain(better, predicted[second] == labels[second], labels[second])
    is_good = np.mean(better) >= max(_LEAST_ACCURACY, (1 + largest_share(labels)) / 2)
    return order if is_better and is_good else given
