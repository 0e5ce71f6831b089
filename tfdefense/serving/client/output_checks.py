"""Checks of what an exported model returns: it, or the server that runs it, may be of a stranger."""

import math
from collections.abc import Mapping

import numpy as np

from tfdefense.data.core.class_labels import MAX_CLASSES
from tfdefense.errors import require

# Output -> the sizes after [N] that a message gives.
_PER_IMAGE = {"perturbation_norm": (), "classes": (), "refused": ()}
_PER_CLASS = ("logits", "probabilities")
_BYTES_PER_NUMBER = 32  # A float32 in JSON has at most 25 characters, with commas and brackets.
_BYTES_OF_NAMES = 2**20


def largest_answer(count: int, image_shape: tuple[int, int, int]) -> int:
    """Return the number of bytes that the outputs for `count` images can have, as JSON.

    Args:
      count: N.
      image_shape: (H, W, C).
    """
    numbers = math.prod(image_shape) + len(_PER_CLASS) * MAX_CLASSES + len(_PER_IMAGE)
    return _BYTES_OF_NAMES + count * _BYTES_PER_NUMBER * numbers


def require_sound_outputs(
    outputs: Mapping[str, np.ndarray], count: int, image_shape: tuple[int, int, int], location: str
) -> None:
    """Raise `UserError` unless outputs have the shapes of a model that `bin/export` wrote.

    Args:
      outputs: arrays by name. Names that `bin/purify` does not read are not checked.
      count: N, the number of images in the request.
      image_shape: (H, W, C).
      location: start of the error message.

    Raises:
      UserError: a wrong shape or dtype, NaN or infinity, or a class that does not exist.
    """
    shapes: dict[str, tuple[int, ...]] = {name: (count,) for name in _PER_IMAGE}
    shapes["purified"] = (count, *image_shape)
    classes = {outputs[name].shape[-1:] for name in _PER_CLASS if name in outputs}
    num_classes = next(iter(classes), (0,))
    shapes |= {name: (count, *num_classes) for name in _PER_CLASS}
    for name, shape in shapes.items():
        if name in outputs:
            _require_numbers(outputs[name], shape, f"{location}: its output {name}")
    if "classes" in outputs and num_classes != (0,):
        values = outputs["classes"]
        is_class = (values >= 0) & (values < num_classes[0]) & (values == np.floor(values))
        require(bool(np.all(is_class)), f"{location}: its output classes names no class.")


def _require_numbers(values: np.ndarray, shape: tuple[int, ...], place: str) -> None:
    require(
        values.shape == shape and values.size <= math.prod(shape) and values.dtype.kind in "fiub",
        f"{place} is {values.dtype} of shape {values.shape}; numbers of shape {shape} are needed.",
    )
    require(bool(np.all(np.isfinite(values))), f"{place} contains NaN or infinity.")
