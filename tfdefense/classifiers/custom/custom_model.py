"""Custom classifiers: a `.keras` or `.h5` file, or a SavedModel directory."""

import math
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import keras

from tfdefense.classifiers.core.frozen_classifier import FrozenClassifier
from tfdefense.classifiers.custom import saved_model_layer
from tfdefense.classifiers.custom.format_check import check_input_format
from tfdefense.classifiers.custom.input_format import InputFormat
from tfdefense.classifiers.custom.keras_file import SUFFIXES, read_keras_model
from tfdefense.classifiers.custom.logits import Network, remove_activation
from tfdefense.classifiers.custom.model_assembly import assemble
from tfdefense.classifiers.custom.output_selection import OutputSelection
from tfdefense.data.core.dataset import Dataset
from tfdefense.errors import UserError, require

__all__ = ["SUFFIXES", "load_custom_model"]


def load_custom_model(
    path: str | Path,
    data: Dataset,
    input_format: InputFormat | None = None,
    outputs: OutputSelection | None = None,
    *,
    unsafe: bool = False,
) -> FrozenClassifier:
    """Load a saved model as a classifier from images in [0, 1] to logits.

    A softmax or sigmoid at its end is removed, or inverted if it cannot be removed. A single output
    of two classes becomes two logits. No Python code of the model runs: a Lambda layer is an error.

    Args:
      path: the file or directory.
      data: the dataset of its images. The model is checked on validation images.
      input_format: the range of images that the model takes. None means [0, 1], unless the accuracy
        shows that another format is right.
      outputs: the signature and the output that are the classifier; None means the usual ones.
      unsafe: allow Lambda layers, and graphs that access files. Their code runs while the model is
        read. The classifier itself is a graph without Python code.

    Raises:
      UserError: the model is missing, damaged, unsafe, not an image classifier, or not for such images
        or so many classes; or its accuracy is much higher with another input format.
    """
    # `tf.distribute` strategies, whose variables cannot be frozen, apply to the current thread only.
    with ThreadPoolExecutor(max_workers=1) as thread:
        arguments = (Path(path), data, input_format, outputs or OutputSelection())
        return thread.submit(_load, *arguments, unsafe=unsafe).result()


def _load(
    path: Path,
    data: Dataset,
    input_format: InputFormat | None,
    outputs: OutputSelection,
    *,
    unsafe: bool,
) -> FrozenClassifier:
    network = _open_network(path, data.image_shape, outputs, unsafe=unsafe)
    model = assemble(path, network, data, input_format or InputFormat())
    classifier = FrozenClassifier(model, data.image_shape, data.num_classes)
    check_input_format(
        path,
        lambda other: assemble(path, network, data, other, verbose=False),
        data,
        input_format,
    )
    return classifier


def _open_network(
    path: Path, image_shape: tuple[int, int, int], outputs: OutputSelection, *, unsafe: bool
) -> Network:
    """Return the network without softmax, which takes images in its own format, after checks."""
    require(path.exists(), f"--classifier={path}: no such file.")
    if path.is_dir():
        require(
            (path / "saved_model.pb").is_file(),
            f"--classifier={path}: neither a SavedModel (no saved_model.pb) nor a run directory (no"
            " config.json).",
        )
        network, shape = saved_model_layer.freeze_saved_model(path, outputs, unsafe=unsafe)
        _require_image_input(path, shape, image_shape)
        return network
    model = read_keras_model(path, unsafe=unsafe)
    inputs = getattr(model, "inputs", None) or []
    require(len(inputs) <= 1, f"--classifier={path}: takes {len(inputs)} inputs, one needed.")
    if inputs:
        dtype = keras.backend.standardize_dtype(inputs[0].dtype)
        require(
            "float" in dtype,
            f"--classifier={path}: takes {dtype}, float32 needed (no gradient passes through whole"
            " numbers).",
        )
        _require_image_input(path, tuple(inputs[0].shape), image_shape)
    model = outputs.select_from_model(model, path)
    if unsafe:
        return saved_model_layer.freeze_keras_model(model, image_shape, path)
    return remove_activation(model)


def _require_image_input(
    path: Path, input_shape: tuple[int | None, ...], image_shape: tuple[int, int, int]
) -> None:
    """Raise `UserError` with a hint if a model with `input_shape` [N, ...] does not take the images."""
    wanted = tuple(input_shape[1:])
    if len(wanted) != 3:
        flat = math.prod(image_shape)
        hint = " Put a keras.layers.Flatten in front of it." if wanted == (flat,) else ""
        raise UserError(
            f"--classifier={path}: takes {_format_shape(wanted)}, not images (height, width,"
            f" channels).{hint}"
        )
    if all(want in (None, got) for want, got in zip(wanted, image_shape, strict=True)):
        return
    height, width, channels = image_shape
    if wanted == (channels, height, width):
        hint = "Its channels come first; put a keras.layers.Permute((3, 1, 2)) in front of it."
    elif wanted[2] not in (None, channels):
        hint = f"It takes {wanted[2]} channels, the images have {channels}."
    else:
        size = f"{wanted[0]}x{wanted[1]}" if wanted[0] != wanted[1] else f"{wanted[0]}"
        hint = f"For images in folders: --image_size={size}."
    raise UserError(
        f"--classifier={path}: takes images of {_format_shape(wanted)}, the data has {image_shape}."
        f" {hint}"
    )


def _format_shape(shape: tuple[int | None, ...]) -> str:
    return "(" + ", ".join("any" if size is None else str(size) for size in shape) + ")"
