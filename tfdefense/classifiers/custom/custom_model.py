"""Custom classifiers: a `.keras` or `.h5` file, or a SavedModel directory."""

import math
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import keras
import tensorflow as tf

from tfdefense.classifiers.core.frozen_classifier import FrozenClassifier
from tfdefense.classifiers.custom import saved_model_layer
from tfdefense.classifiers.custom.format_check import check_input_format
from tfdefense.classifiers.custom.input_format import InputFormat
from tfdefense.classifiers.custom.keras_file import SUFFIXES, read_keras_model
from tfdefense.classifiers.custom.logits import Network, remove_activation
from tfdefense.classifiers.custom.model_assembly import assemble, connect, sample_batch_size
from tfdefense.classifiers.custom.output_selection import OutputSelection
from tfdefense.classifiers.custom.saved_model_file import SAVED_MODEL_FILE, model_reason
from tfdefense.data.core.dataset import Dataset
from tfdefense.errors import UserError, require
from tfdefense.training.keras_archive import METADATA_FILE
from tfdefense.utils.file_trial import try_file
from tfdefense.utils.tensorflow_path import require_tensorflow_path
from tfdefense.utils.trust import trust_model_files, trusts_model_files
from tfdefense.utils.untrusted_file import require_modest_model, require_regular_tree

__all__ = ["SUFFIXES", "load_custom_model"]

_KERAS_WEIGHTS = "model.weights.h5"


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
      unsafe: trust the model, as a block of `trust_model_files` does: its Lambda layers and all graph
        operations may run, without a trial in a child process.

    Raises:
      UserError: the model is missing, damaged, unsafe, not an image classifier, or not for such images
        or so many classes; or its accuracy is much higher with another input format.
    """
    path, outputs = Path(path), outputs or OutputSelection()
    require(path.exists(), f"--classifier={path}: no such file.")
    with trust_model_files(trusted=unsafe):
        require_readable_model(path, f"--classifier={path}")
        trial = (path, data.image_shape, input_format or InputFormat(), outputs)
        try_file(path, _run_once, trial, f"--classifier={path}")
        # `tf.distribute` strategies, whose variables cannot be frozen, apply to the current thread only.
        with ThreadPoolExecutor(max_workers=1) as thread:
            return thread.submit(_load, path, data, input_format, outputs).result()


def is_model_directory(path: Path) -> bool:
    """Return whether a directory is that of a model. It may have a `config.json`, as a run has."""
    keras_files = (METADATA_FILE, _KERAS_WEIGHTS)
    is_keras = all((path / name).is_file() for name in keras_files)
    return is_keras or (path / SAVED_MODEL_FILE).is_file()


def require_readable_model(path: Path, place: str) -> None:
    """Raise `UserError` unless a custom model consists of regular files, which do not unfold.

    Args:
      path: the file or directory, which exists.
      place: start of the error message, such as "--classifier=FILE".
    """
    if path.is_dir():
        is_saved_model = (path / SAVED_MODEL_FILE).is_file()
        require(
            is_saved_model or not is_model_directory(path),
            f"{place}: a Keras model as a folder; one file is needed. Make it with:"
            f" keras.saving.load_model({str(path)!r}).save('model.keras')",
        )
        require(
            is_saved_model,
            f"{place}: neither a SavedModel (no saved_model.pb) nor a run directory (no config.json).",
        )
        require_tensorflow_path(path, place)
        require_regular_tree(path, place, allow_links=trusts_model_files())
    else:
        require_modest_model(path, place)


def _load(
    path: Path, data: Dataset, input_format: InputFormat | None, outputs: OutputSelection
) -> FrozenClassifier:
    network = _open_network(path, data.image_shape, outputs)
    model = assemble(path, network, data, input_format or InputFormat())
    _require_gradient(path, model, data.image_shape)
    classifier = FrozenClassifier(model, data.image_shape)
    require(
        classifier.num_classes == data.num_classes,
        f"--classifier={path}: gives {classifier.num_classes} classes, the data has"
        f" {data.num_classes}.",
    )
    check_input_format(
        path,
        lambda other: assemble(path, network, data, other, verbose=False),
        data,
        input_format,
    )
    return classifier


def _run_once(
    path: Path,
    image_shape: tuple[int, int, int],
    input_format: InputFormat,
    outputs: OutputSelection,
) -> None:
    """Load a model, and run it on a batch and its gradient once: the work of the child process."""
    network = _open_network(path, image_shape, outputs)
    model = connect(path, network, image_shape, input_format)
    model(tf.zeros([sample_batch_size(image_shape), *image_shape]), training=False)
    _run_with_gradient(model, image_shape)


def _run_with_gradient(model: keras.Model, image_shape: tuple[int, int, int]) -> None:
    images = tf.zeros([1, *image_shape])
    with tf.GradientTape() as tape:
        tape.watch(images)
        logits = model(images, training=False)
    tape.gradient(logits, images)


def _require_gradient(path: Path, model: keras.Model, image_shape: tuple[int, int, int]) -> None:
    """Raise `UserError` if the gradient of a model cannot be computed."""
    try:
        _run_with_gradient(model, image_shape)
    except Exception as error:  # There is another type for each reason.
        raise UserError(
            f"--classifier={path}: its gradient cannot be computed: {model_reason(error)}"
        ) from error


def _open_network(
    path: Path, image_shape: tuple[int, int, int], outputs: OutputSelection
) -> Network:
    """Return the network without softmax, which takes images in its own format, after checks."""
    if path.is_dir():
        network, shape = saved_model_layer.freeze_saved_model(path, outputs)
        _require_image_input(path, shape, image_shape)
        return network
    model = read_keras_model(path)
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
    if trusts_model_files():
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
    channels = image_shape[2]
    if _has_channels_first(wanted, channels):
        hint = "Its channels come first; "
        hint += (
            "convert it again with channels last, as in docs/guides/from-pytorch.md."
            if path.is_dir()
            else "put a keras.layers.Permute((3, 1, 2)) in front of it."
        )
    elif wanted[2] not in (None, channels):
        hint = f"It takes {wanted[2]} channels, the images have {channels}."
        hint += f" To convert images: --channels={wanted[2]}." if wanted[2] in (1, 3) else ""
    else:
        size = f"{wanted[0]}x{wanted[1]}" if wanted[0] != wanted[1] else f"{wanted[0]}"
        hint = f"For images in folders: --image_size={size}."
    raise UserError(
        f"--classifier={path}: takes images of {_format_shape(wanted)}, the data has {image_shape}."
        f" {hint}"
    )


def _has_channels_first(shape: tuple[int | None, ...], channels: int) -> bool:
    """Return whether a shape of three sizes is (channels, height, width)."""
    return shape[0] == channels and shape[2] != channels


def _format_shape(shape: tuple[int | None, ...]) -> str:
    return "(" + ", ".join("any" if size is None else str(size) for size in shape) + ")"
