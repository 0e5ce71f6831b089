"""Check of a custom classifier on labelled images, which finds a wrong input format.

A model that takes images in another range than it gets predicts little more than chance. Chance is
the share of the largest class: 50 % for two balanced classes, 10 % for ten.
"""

import math
from collections.abc import Callable
from pathlib import Path

import keras
import numpy as np

from tfdefense.classifiers.core.inference import compile_inference, find_correct
from tfdefense.classifiers.custom.input_format import InputFormat
from tfdefense.data.core.dataset import Dataset, Split
from tfdefense.errors import UserError
from tfdefense.utils.progress import print_line
from tfdefense.utils.statistics import wilson_interval

_FORMATS = (
    InputFormat((0.0, 255.0)),
    InputFormat((-1.0, 1.0)),
    InputFormat(input_preset="caffe"),
    InputFormat(input_preset="torch"),
)
_CHECKED_IMAGES = 500
_TRIED_IMAGES = 250
# With fewer validation images, formats are compared on training images.
_FEWEST_IMAGES = 50
# Other formats are tried below this accuracy.
_UNSUSPICIOUS = 0.95
# Another format is better if its accuracy is higher by this, and not by chance.
_CLEAR_GAIN = 0.1
_LARGEST_P = 0.02

# Input format -> classifier of images in [0, 1].
AssembleWith = Callable[[InputFormat], keras.Model]


def check_input_format(
    path: Path, assemble: AssembleWith, data: Dataset, given: InputFormat | None
) -> None:
    """Print the accuracy on validation images, and compare input formats if none is given.

    Args:
      path: of the model, for messages.
      assemble: makes the classifier with an input format.
      data: the dataset of its images.
      given: the input format that the user chose; None means images in [0, 1], and a comparison.

    Raises:
      UserError: no format is given, and accuracy is clearly higher with another than [0, 1].
    """
    model = assemble(given or InputFormat())
    images = data.validation.take(_CHECKED_IMAGES)
    accuracy = float(np.mean(_find_correct(model, images)))
    if given is None and accuracy < _UNSUSPICIOUS:
        split = images if len(images) >= _FEWEST_IMAGES else _draw(data.train)
        split = split.take(_TRIED_IMAGES)
        _require_no_better_format(path, assemble, model, split)
    print_line(f"Classifier {path}: {accuracy:.1%} of {len(images)} validation images are correct.")
    share = _largest_share(images)
    if accuracy < (1 + share) / 2:
        names = ", ".join(data.class_names[:4])
        print_line(
            f"Accuracy is nearer to {share:.1%}, the share of the largest class, than to 100 %. Check"
            f" --input_range, --input_preset and the order of the classes, which is {names}"
            + (", ..." if len(data.class_names) > 4 else ".")
        )


def _require_no_better_format(
    path: Path, assemble: AssembleWith, plain: keras.Model, split: Split
) -> None:
    correct = _find_correct(plain, split)
    results = []
    for input_format in _FORMATS:
        if input_format.input_preset and split.image_shape[-1] != 3:
            continue
        found = _find_correct(assemble(input_format), split)
        results.append((float(np.mean(found)), input_format, found))
    accuracy = float(np.mean(correct))
    better, best, found = max(results, key=lambda result: result[0])
    if better < accuracy + _CLEAR_GAIN or _sign_test(found, correct) > _LARGEST_P:
        return
    # A model that has learned nothing is near the share of the largest class in every format.
    if wilson_interval(int(found.sum()), len(found))[0] <= _largest_share(split):
        return
    low, high = best.input_range
    how = f"with the preset {best.input_preset}" if best.input_preset else f"in [{low:g}, {high:g}]"
    raise UserError(
        f"--classifier={path}: accuracy is {accuracy:.0%} on {len(split)} images given in [0, 1], and"
        f" {better:.0%} given {how}. Give the format that the model takes: {best.flags()} (or"
        " --input_range=0,1)."
    )


def _find_correct(model: keras.Model, split: Split) -> np.ndarray:
    return find_correct(compile_inference(model), split, f"Accuracy of {model.name}")


def _draw(split: Split) -> Split:
    """Return random images of a split, always the same ones."""
    order = np.random.default_rng(0).permutation(len(split))
    return split.select(np.sort(order[:_TRIED_IMAGES]))


def _largest_share(split: Split) -> float:
    return float(np.bincount(split.labels).max() / len(split))


def _sign_test(better: np.ndarray, other: np.ndarray) -> float:
    """Return the probability of as many gains of `better`, bool [N], if both were equally good.

    Only images that one of the two predicts correctly count; each is then a toss of a fair coin.
    """
    gains, losses = int(np.sum(better & ~other)), int(np.sum(other & ~better))
    tosses = gains + losses
    return sum(math.comb(tosses, count) for count in range(gains, tosses + 1)) / 2**tosses
