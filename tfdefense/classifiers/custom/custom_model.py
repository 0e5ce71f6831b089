"""Custom classifiers: a `.keras` or `.h5` file, or a SavedModel directory."""

import re
import zipfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import keras
import numpy as np

from tfdefense.classifiers.core.frozen_classifier import FrozenClassifier
from tfdefense.classifiers.core.inference import compile_inference, find_correct
from tfdefense.classifiers.custom import saved_model_layer
from tfdefense.classifiers.custom.input_format import InputFormat
from tfdefense.classifiers.custom.logits import (
    LogarithmOfProbabilities,
    looks_like_probabilities,
    remove_softmax,
)
from tfdefense.data.core.dataset import Dataset, Split
from tfdefense.errors import UserError, require
from tfdefense.utils.progress import print_line

SUFFIXES = (".keras", ".h5", ".hdf5")
_OTHER_RANGES = ((0.0, 255.0), (-1.0, 1.0))
_CHECKED_IMAGES = 500


def load_custom_model(
    path: str | Path,
    data: Dataset,
    input_format: InputFormat | None = None,
    *,
    unsafe: bool = False,
) -> FrozenClassifier:
    """Load a saved model as a classifier from images in [0, 1] to logits.

    A softmax at its end is removed, or inverted if it cannot be removed. No Python code of the model
    runs: a Lambda layer is an error.

    Args:
      path: the file or directory.
      data: the dataset of its images. The model is checked on validation images.
      input_format: the range of images that the model takes. None means [0, 1], unless the accuracy
        shows that another range is right.
      unsafe: allow Lambda layers, and graphs that access files. Their code runs while the model is
        read. The classifier itself is a graph without Python code.

    Raises:
      UserError: the model is missing, damaged, unsafe, not an image classifier, or not for such images
        or so many classes; or its accuracy is low, and much higher with another input range.
    """
    # `tf.distribute` strategies, whose variables cannot be frozen, apply to the current thread only.
    with ThreadPoolExecutor(max_workers=1) as thread:
        return thread.submit(_load, Path(path), data, input_format, unsafe=unsafe).result()


def _load(
    path: Path, data: Dataset, input_format: InputFormat | None, *, unsafe: bool
) -> FrozenClassifier:
    network = _open_network(path, data.image_shape, unsafe=unsafe)
    model = _assemble(path, network, data.image_shape, input_format or InputFormat())
    classifier = FrozenClassifier(model, data.image_shape, data.num_classes)
    images = data.validation.take(_CHECKED_IMAGES)
    accuracy = _accuracy(model, images)
    if input_format is None and accuracy < 0.5:
        _require_no_better_range(path, network, images, accuracy)
    print_line(f"Classifier {path}: {accuracy:.1%} of {len(images)} validation images are correct.")
    if accuracy < 0.5:
        names = ", ".join(data.class_names[:4])
        print_line(
            "Accuracy is below 50 %. Check --input_range and the order of the classes, which is"
            f" {names}, ..."
        )
    return classifier


def _accuracy(model: keras.Model, split: Split) -> float:
    return float(np.mean(find_correct(compile_inference(model), split)))


def _open_network(path: Path, image_shape: tuple[int, int, int], *, unsafe: bool) -> keras.Layer:
    """Return the network without softmax, which takes images in its own format, after checks."""
    require(path.exists(), f"--classifier={path}: no such file.")
    if path.is_dir():
        require(
            (path / "saved_model.pb").is_file(),
            f"--classifier={path}: neither a SavedModel (no saved_model.pb) nor a run directory (no"
            " config.json).",
        )
        layer, shape = saved_model_layer.freeze_saved_model(path, unsafe=unsafe)
        _require_image_input(path, shape, image_shape)
        return layer
    model = _read_keras_model(path, unsafe=unsafe)
    inputs = getattr(model, "inputs", None) or []
    outputs = getattr(model, "outputs", None) or []
    require(len(inputs) <= 1, f"--classifier={path}: takes {len(inputs)} inputs, one needed.")
    require(len(outputs) <= 1, f"--classifier={path}: gives {len(outputs)} outputs, one needed.")
    if inputs:
        dtype = keras.backend.standardize_dtype(inputs[0].dtype)
        require(
            "float" in dtype,
            f"--classifier={path}: takes {dtype}, float32 needed (no gradient passes through whole"
            " numbers).",
        )
        _require_image_input(path, tuple(inputs[0].shape), image_shape)
    if unsafe:
        return saved_model_layer.freeze_keras_model(model, image_shape, path)
    return remove_softmax(model)


def _read_keras_model(path: Path, *, unsafe: bool) -> keras.Model:
    require(
        path.suffix in SUFFIXES,
        f"--classifier={path}: {', '.join(SUFFIXES)} or a SavedModel directory needed.",
    )
    require(
        path.suffix != ".keras" or zipfile.is_zipfile(path),
        f"--classifier={path}: not a Keras model, or damaged: not a zip archive.",
    )
    try:
        model = keras.models.load_model(path, compile=False, safe_mode=not unsafe)
    except Exception as error:  # Zip, HDF5, JSON and Keras have different exceptions.
        raise _explain_load_error(path, error) from error
    require(
        isinstance(model, keras.Model),
        f"--classifier={path}: holds a {type(model).__name__}, not a model.",
    )
    return model


def _explain_load_error(path: Path, error: Exception) -> UserError:
    """Return an error that tells the user what to do about an exception of `load_model`."""
    text = " ".join(str(error).split())
    if "ambda" in text or "safe_mode" in text or "unsafe" in text:
        return UserError(
            f"--classifier={path}: contains a Lambda layer, or other Python code, which would run"
            " here. If you trust it: --unsafe_load."
        )
    missing = re.search(r"(?:locate (?:class|function)|Unknown layer:?) '?(\w+)'?", text)
    if missing:
        return UserError(
            f"--classifier={path}: needs {missing[1]!r}, which is not part of Keras. Save the model"
            " with model.export(DIR), and give that directory."
        )
    return UserError(f"--classifier={path}: not a Keras model, or damaged: {text[:160]}")


def _require_image_input(
    path: Path, input_shape: tuple[int | None, ...], image_shape: tuple[int, int, int]
) -> None:
    """Raise `UserError` with a hint if a model with `input_shape` [N, ...] does not take the images."""
    wanted = tuple(input_shape[1:])
    if len(wanted) != 3:
        flat = int(np.prod(image_shape))
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


def _assemble(
    path: Path, network: keras.Layer, image_shape: tuple[int, int, int], input_format: InputFormat
) -> keras.Model:
    """Join the input format, the network and, if it returns probabilities, their logarithm."""
    images = keras.Input(image_shape, name="images")
    convert = input_format.make_layer(image_shape[-1])
    try:
        outputs = network(images if convert is None else convert(images), training=False)
    except Exception as error:  # The model was never built, or takes something else after all.
        reason = " ".join(str(error).split())[:160]
        raise UserError(f"--classifier={path}: cannot take such images: {reason}") from error
    name = re.sub(r"[^\w.-]", "_", path.stem)
    model = keras.Model(images, outputs, name=name)
    rng = np.random.default_rng(0)
    sample = model.predict_on_batch(rng.random((8, *image_shape), np.float32))
    require(
        np.ndim(sample) != 2 or np.shape(sample)[1] != 1,
        f"--classifier={path}: gives one number for each image; one logit for each class needed,"
        " also for two classes.",
    )
    if np.ndim(sample) == 2 and looks_like_probabilities(sample):
        model = keras.Model(images, LogarithmOfProbabilities(name="logits")(outputs), name=name)
    return model


def _require_no_better_range(
    path: Path, network: keras.Layer, split: Split, accuracy: float
) -> None:
    """Raise `UserError` if the accuracy is much higher with images in another input range."""
    for low, high in _OTHER_RANGES:
        model = _assemble(path, network, split.image_shape, InputFormat((low, high)))
        better = _accuracy(model, split)
        require(
            better < accuracy + 0.2,
            f"--classifier={path}: accuracy is {accuracy:.0%} on {len(split)} images given in [0, 1],"
            f" and {better:.0%} given in [{low:g}, {high:g}]. Give the range that the model takes:"
            f" --input_range={low:g},{high:g} (or --input_range=0,1).",
        )


def _format_shape(shape: tuple[int | None, ...]) -> str:
    return "(" + ", ".join("any" if size is None else str(size) for size in shape) + ")"
