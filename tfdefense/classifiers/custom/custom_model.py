"""Anybody's own classifier: a `.keras` or `.h5` file, or a SavedModel directory."""

import re
import zipfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import keras
import numpy as np

from tfdefense.classifiers.core.classifier_training import find_correct, compile_inference
from tfdefense.classifiers.core.frozen_classifier import FrozenClassifier
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
    unsafe: bool = False,
) -> FrozenClassifier:
    """Opens a saved model and makes it a classifier from images in [0, 1] to logits.

    A softmax at its end is taken off, or inverted where it cannot be reached. Nothing of the model's own
    Python runs: a Lambda layer is refused.

    Args:
      path: the file or directory.
      data: whose images it will be given; a few of its validation images are tried.
      input_format: what the model wants of images; None means [0, 1], as long as that goes well.
      unsafe: run Lambda layers, and graphs that touch files. They run while the model is read; what is
        kept is a graph without Python.

    Raises:
      UserError: not there, damaged, unsafe, not an image classifier, not for such images or so many
        classes, or right about hardly any image while in another input range it would be.
    """
    # In a thread of its own no `tf.distribute` strategy is in force, whose variables cannot be frozen.
    with ThreadPoolExecutor(max_workers=1) as outside:
        return outside.submit(_load, Path(path), data, input_format, unsafe).result()


def _load(
    path: Path, data: Dataset, input_format: InputFormat | None, unsafe: bool
) -> FrozenClassifier:
    network = _open(path, data.image_shape, unsafe)
    model = _assembled(path, network, data.image_shape, input_format or InputFormat())
    classifier = FrozenClassifier(model, data.image_shape, data.num_classes)
    few = data.validation.take(_CHECKED_IMAGES)
    accuracy = float(np.mean(find_correct(compile_inference(model), few)))
    if input_format is None and accuracy < 0.5:
        _look_for_better_range(path, network, few, accuracy)
    print_line(f"Classifier {path}: right about {accuracy:.1%} of {len(few)} validation images.")
    if accuracy < 0.5:
        names = ", ".join(data.class_names[:4])
        print_line(
            f"That is little. Are its inputs as it wants them, its classes in this order: {names}, ...?"
        )
    return classifier


def _open(path: Path, image_shape: tuple[int, int, int], unsafe: bool) -> keras.Layer:
    """What runs on images as the model wants them: its network, checked, without softmax."""
    require(path.exists(), f"--classifier={path}: no such file.")
    if path.is_dir():
        require(
            (path / "saved_model.pb").is_file(),
            f"--classifier={path}: neither a SavedModel (no saved_model.pb) nor a run directory (no"
            " config.json).",
        )
        layer, shape = saved_model_layer.freeze_saved_model(path, unsafe)
        _require_images(path, shape, image_shape)
        return layer
    model = _read(path, unsafe)
    inputs = getattr(model, "inputs", None) or []
    outputs = getattr(model, "outputs", None) or []
    require(len(inputs) <= 1, f"--classifier={path}: takes {len(inputs)} inputs, one needed.")
    require(len(outputs) <= 1, f"--classifier={path}: gives {len(outputs)} outputs, one needed.")
    if inputs:
        kind = keras.backend.standardize_dtype(inputs[0].dtype)
        require(
            "float" in kind,
            f"--classifier={path}: takes {kind}, float32 needed (no gradient passes through whole"
            " numbers).",
        )
        _require_images(path, tuple(inputs[0].shape), image_shape)
    if unsafe:
        return saved_model_layer.freeze_keras_model(model, image_shape, path)
    return remove_softmax(model)


def _read(path: Path, unsafe: bool) -> keras.Model:
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
    except Exception as error:  # Zip, HDF5, JSON and Keras each raise their own.
        text = " ".join(str(error).split())
        if "ambda" in text or "safe_mode" in text or "unsafe" in text:
            raise UserError(
                f"--classifier={path}: contains a Lambda layer, or other Python code, which would run"
                " here. If you trust it: --unsafe_load."
            ) from error
        missing = re.search(r"(?:locate (?:class|function)|Unknown layer:?) '?(\w+)'?", text)
        if missing:
            raise UserError(
                f"--classifier={path}: needs {missing[1]!r}, which is not Keras' own. Save the"
                " model with model.export(DIR), and give that directory."
            ) from error
        raise UserError(
            f"--classifier={path}: not a Keras model, or damaged: {text[:160]}"
        ) from error
    require(
        isinstance(model, keras.Model),
        f"--classifier={path}: holds a {type(model).__name__}, not a model.",
    )
    return model


def _require_images(
    path: Path, shape: tuple[int | None, ...], image_shape: tuple[int, int, int]
) -> None:
    """Raises `UserError`, as telling as can be, unless a model that takes `shape` takes the images."""
    wanted = tuple(shape[1:])
    if len(wanted) != 3:
        flat = int(np.prod(image_shape))
        hint = " Put a keras.layers.Flatten in front of it." if wanted == (flat,) else ""
        raise UserError(
            f"--classifier={path}: takes {_shown(wanted)}, not images (height, width, channels).{hint}"
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
        f"--classifier={path}: takes images of {_shown(wanted)}, the data has {image_shape}. {hint}"
    )


def _assembled(
    path: Path, network: keras.Layer, image_shape: tuple[int, int, int], input_format: InputFormat
) -> keras.Model:
    """Input format, network and, where its outputs are still probabilities, their logarithm."""
    images = keras.Input(image_shape, name="images")
    first = input_format.layer(image_shape[-1])
    try:
        outputs = network(images if first is None else first(images), training=False)
    except Exception as error:  # A model that was never built, or wants something else after all.
        reason = " ".join(str(error).split())[:160]
        raise UserError(f"--classifier={path}: cannot take such images: {reason}") from error
    name = re.sub(r"[^\w.-]", "_", path.stem)
    model = keras.Model(images, outputs, name=name)
    rng = np.random.default_rng(0)
    tried = model.predict_on_batch(rng.random((8, *image_shape), np.float32))
    if np.ndim(tried) == 2 and np.shape(tried)[1] == 1:
        raise UserError(
            f"--classifier={path}: gives one number for each image; one logit for each class needed,"
            " also for two classes."
        )
    if np.ndim(tried) == 2 and looks_like_probabilities(tried):
        model = keras.Model(images, LogarithmOfProbabilities(name="logits")(outputs), name=name)
    return model


def _look_for_better_range(path: Path, network: keras.Layer, few: Split, accuracy: float) -> None:
    """Raises `UserError` where the model does much better with images in another input range."""
    for low, high in _OTHER_RANGES:
        model = _assembled(path, network, few.image_shape, InputFormat((low, high)))
        better = float(np.mean(find_correct(compile_inference(model), few)))
        require(
            better < accuracy + 0.2,
            f"--classifier={path}: is right about {accuracy:.0%} of {len(few)} images given in [0, 1], and"
            f" about {better:.0%} given in [{low:g}, {high:g}]. Say which it takes:"
            f" --input_range={low:g},{high:g} (or --input_range=0,1).",
        )


def _shown(shape: tuple[int | None, ...]) -> str:
    return "(" + ", ".join("any" if size is None else str(size) for size in shape) + ")"
