"""Check of a custom classifier on labelled images, which finds a wrong input format or class order.

A model that takes images in another range than it gets predicts little more than chance. Chance is
the share of the largest class: 50 % for two balanced classes, 10 % for ten.
"""

from collections.abc import Callable
from pathlib import Path

import keras
import numpy as np

from tfdefense.classifiers.core.inference import compile_inference, predict_logits
from tfdefense.classifiers.custom.class_order import require_class_order
from tfdefense.classifiers.custom.clear_gain import is_beyond_chance, is_clear_gain, largest_share
from tfdefense.classifiers.custom.description_error import DescriptionError
from tfdefense.classifiers.custom.input_format import InputFormat
from tfdefense.data.core.dataset import Dataset, Split
from tfdefense.errors import UserError
from tfdefense.utils.progress import print_line

_FORMATS = (
    InputFormat((0.0, 255.0)),
    InputFormat((-1.0, 1.0)),
    InputFormat((0.0, 255.0), input_preset="bgr"),
    InputFormat(input_preset="bgr"),
    InputFormat(input_preset="caffe"),
    InputFormat(input_preset="torch"),
)
_CHECKED_IMAGES = 500
_TRIED_IMAGES = 250
# With fewer validation images, formats are compared on training images.
_FEWEST_IMAGES = 50
# Other formats are tried below this accuracy.
_UNSUSPICIOUS = 0.95

# Input format -> classifier of images in [0, 1].
AssembleWith = Callable[[InputFormat], keras.Model]


def check_input_format(
    path: Path, assemble: AssembleWith, data: Dataset, given: InputFormat | None
) -> None:
    """Print the accuracy on validation images, after a comparison with other formats and class orders.

    Args:
      path: of the model, for messages.
      assemble: makes the classifier with an input format.
      data: the dataset of its images.
      given: the input format that the user chose; None means images in [0, 1], and a comparison with
        other formats.

    Raises:
      UserError: no format is given, and accuracy is clearly higher with another than [0, 1]; or it is
        clearly higher with another order of the classes.
    """
    model = assemble(given or InputFormat())
    images = data.validation.take(_CHECKED_IMAGES)
    split, predicted = images, _predict(model, images)
    accuracy = float(np.mean(predicted == images.labels))
    names = data.class_names or tuple(map(str, range(data.num_classes)))
    if accuracy < _UNSUSPICIOUS:
        if len(images) < _FEWEST_IMAGES:
            split = _draw(data.train)
            predicted = _predict(model, split)
        if given is None:
            _require_no_better_format(path, assemble, predicted, split)
        require_class_order(path, predicted, split.labels, names)
    print_line(f"Classifier {path}: {accuracy:.1%} of {len(images)} validation images are correct.")
    share = largest_share(images.labels)
    if accuracy < (1 + share) / 2:
        shown = ", ".join(names[:4]) + (", ..." if len(names) > 4 else ".")
        print_line(
            f"Accuracy is nearer to {share:.1%}, the share of the largest class, than to 100 %. Check"
            " the images that it takes (for --classifier: --input_range, --input_preset) and the order"
            f" of the classes, which is {shown}"
        )


def _require_no_better_format(
    path: Path, assemble: AssembleWith, predicted: np.ndarray, split: Split
) -> None:
    """Raise `UserError` if another format than [0, 1], for which `predicted` is, is clearly better."""
    labels = split.labels[:_TRIED_IMAGES]
    split, correct = split.take(_TRIED_IMAGES), predicted[:_TRIED_IMAGES] == labels
    best, found = InputFormat(), correct
    for input_format in _FORMATS:
        if input_format.input_preset and split.image_shape[-1] != 3:
            continue
        try:
            other = _predict(assemble(input_format), split) == labels
        except UserError:  # Such as NaN where exp overflows: not the format of this model.
            continue
        # The order of the channels hardly matters to some models, so the usual one has precedence.
        is_new = input_format.input_preset != "bgr" or is_beyond_chance(other, found)
        if np.mean(other) > np.mean(found) and is_new:
            best, found = input_format, other
    if not is_clear_gain(found, correct, labels):
        return
    raise DescriptionError(
        f"--classifier={path}: accuracy is {np.mean(correct):.0%} on {len(labels)} images given in [0, 1],"
        f" and {np.mean(found):.0%} given {_describe(best)}.",
        f"Give the format that the model takes: {best.flags()} (or --input_range=0,1).",
        "Save it with a layer in front that makes these of images in [0, 1], such as"
        " keras.layers.Rescaling.",
    )


def _describe(input_format: InputFormat) -> str:
    preset = input_format.input_preset
    if preset not in (None, "bgr"):
        return f"with the preset {preset}"
    low, high = input_format.input_range
    return f"in [{low:g}, {high:g}]" + (" with blue first" if preset else "")


def _predict(model: keras.Model, split: Split) -> np.ndarray:
    """Return the predicted classes, integers [N]."""
    logits = predict_logits(compile_inference(model), split, f"Accuracy of {model.name}")
    return np.argmax(logits, axis=-1)


def _draw(split: Split) -> Split:
    """Return random images of a split, always the same ones."""
    order = np.random.default_rng(0).permutation(len(split))
    return split.select(np.sort(order[:_TRIED_IMAGES]))
