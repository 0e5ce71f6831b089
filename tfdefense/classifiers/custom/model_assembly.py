"""Assembly of a classifier from an input format, the network of a custom model, and logits."""

from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from tfdefense.classifiers.custom.input_format import InputFormat
from tfdefense.classifiers.custom.logits import (
    LogarithmOfOdds,
    LogarithmOfProbabilities,
    Network,
    TwoClassLogits,
    looks_like_probabilities,
    looks_like_sigmoids,
)
from tfdefense.classifiers.custom.saved_model_file import model_reason
from tfdefense.data.core.dataset import Dataset
from tfdefense.errors import UserError, require
from tfdefense.utils.batch_size import fitting_batch_size
from tfdefense.utils.graph_names import graph_name
from tfdefense.utils.progress import print_line

_SAMPLED_IMAGES, _NOISE_IMAGES = 64, 8
# Of the outputs for one image in two batches, relative to the largest; float16 has 11 bits.
_LARGEST_DIFFERENCE = 0.01


def assemble(
    path: Path, network: Network, data: Dataset, input_format: InputFormat, *, verbose: bool = True
) -> keras.Model:
    """Join the input format, the network, and layers that make float32 logits of its outputs.

    Args:
      path: of the model, for messages.
      network: the custom model.
      data: its dataset. Outputs for some of its images tell probabilities from logits.
      input_format: the images that the network takes.
      verbose: print how outputs are read if there is doubt.

    Raises:
      UserError: the network cannot take such images, or its outputs are not those of a classifier.
    """
    try:
        model = connect(path, network, data.image_shape, input_format)
        given = _sample(data)
        size = sample_batch_size(data.image_shape)
        # `predict_on_batch` would compile every model, and TensorFlow warns of retracing.
        alone, *parts = (
            np.asarray(model(tf.constant(images), training=False))
            for images in (given[:1], *(given[i : i + size] for i in range(0, len(given), size)))
        )
        sample = np.concatenate(parts)
    except UserError:
        raise
    except Exception as error:  # The model was never built, or takes something else after all.
        raise UserError(
            f"--classifier={path}: cannot take such images: {model_reason(error)}"
        ) from error
    if np.ndim(sample) != 2:
        return model  # An error of `FrozenClassifier`.
    _require_independence(path, sample[:1], alone)
    layers = _logit_layers(path, network, sample, data.num_classes, verbose=verbose)
    outputs = model.outputs[0]
    for layer in layers:
        outputs = layer(outputs)
    return keras.Model(model.inputs[0], outputs, name=model.name) if layers else model


def sample_batch_size(image_shape: tuple[int, ...]) -> int:
    """Return the number of images (H, W, C) that `assemble` passes through a model at a time."""
    return fitting_batch_size(image_shape, _NOISE_IMAGES + _SAMPLED_IMAGES)


def connect(
    path: Path, network: Network, image_shape: tuple[int, ...], input_format: InputFormat
) -> keras.Model:
    """Return a model from images [N, H, W, C] in [0, 1] to the float32 outputs of the network.

    Args:
      path: of the model, whose name it gets.
      network: the custom model.
      image_shape: (H, W, C).
      input_format: the images that the network takes.

    Raises:
      Exception: the network cannot take such images; there is another type for each reason.
    """
    images = keras.Input(image_shape, name="images")
    convert = input_format.make_layer(image_shape[-1])
    given = images if convert is None else convert(images)
    outputs = _single(network.layer(given, training=False))
    if keras.backend.standardize_dtype(outputs.dtype) != "float32":
        outputs = keras.ops.cast(outputs, "float32")
    return keras.Model(images, outputs, name=graph_name(path.stem))


def _logit_layers(
    path: Path, network: Network, sample: np.ndarray, num_classes: int, *, verbose: bool
) -> list[keras.Layer]:
    """Return the layers that make logits of outputs like `sample`, float32 [N, K]."""
    is_single = sample.shape[1] == 1
    require(
        not is_single or num_classes == 2,
        f"--classifier={path}: gives one number for each image; one logit for each class needed.",
    )
    pair = [TwoClassLogits(name="logits")] if is_single else []
    if network.has_logits:
        return pair
    if looks_like_probabilities(sample, network.dtype):
        require(
            not is_single,
            f"--classifier={path}: gives 1 for every image: a softmax of one unit. Use a sigmoid.",
        )
        return [LogarithmOfProbabilities(name="logits")]
    if not looks_like_sigmoids(sample):
        return pair
    if verbose:
        print_line(
            f"Classifier {path}: all outputs are in [0, 1], and rows do not sum to 1. They are read as"
            " sigmoids: logits are log p - log(1 - p). Predicted classes do not change by this."
        )
    return [LogarithmOfOdds(name="logits" if not is_single else "log_odds"), *pair]


def _require_independence(path: Path, among_others: np.ndarray, alone: np.ndarray) -> None:
    """Raise `UserError` if the output for an image, float32 [1, K], depends on other images."""
    largest = max(1.0, float(np.abs(alone).max()))
    require(
        bool(np.all(np.abs(among_others - alone) <= _LARGEST_DIFFERENCE * largest)),
        f"--classifier={path}: outputs for an image change with the other images of the batch; a"
        " BatchNormalization was saved in training mode. Give the .keras file, or export the model with"
        " training=False, in PyTorch after model.eval().",
    )


def _single(outputs: Any) -> Any:
    """Return the only tensor of the outputs of a model that is not a graph of layers."""
    tensors = keras.tree.flatten(outputs)
    if len(tensors) != 1:
        raise ValueError(f"it gives {len(tensors)} outputs, one needed")
    return tensors[0]


def _sample(data: Dataset) -> np.ndarray:
    """Return random images and some of the dataset, float32 [N, H, W, C]."""
    noise = np.random.default_rng(0).random((_NOISE_IMAGES, *data.image_shape), np.float32)
    return np.concatenate([noise, np.asarray(data.validation.take(_SAMPLED_IMAGES).images[:])])
