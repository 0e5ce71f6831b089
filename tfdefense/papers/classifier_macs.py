"""Multiply-accumulate operations (MACs) and layers of classifiers.

`classifier_macs.toml` has those of registered classifiers for the images of the papers, so that an
estimate builds no network, which would need TensorFlow. A test compares it with the networks.
"""

import functools
import math
import tomllib
from pathlib import Path

import keras

from tfdefense.classifiers import CLASSIFIERS
from tfdefense.classifiers.core.architecture import ImageShape

NUM_CLASSES = 10
_FILE = Path(__file__).with_name("classifier_macs.toml")


def classifier_macs(name: str, image_shape: ImageShape) -> float:
    """Return the MACs of a registered classifier for one image of shape [H, W, C]."""
    known = stored_macs().get("x".join(map(str, image_shape)), {})
    return known[name] if name in known else count_macs(name, image_shape)


def classifier_layers(name: str, image_shape: ImageShape) -> int:
    """Return the number of convolutions and dense layers of a registered classifier."""
    known = stored_macs()["layers"]
    return known[name] if name in known else count_layers(name, image_shape)


@functools.cache
def stored_macs() -> dict[str, dict[str, int]]:
    """Return shape such as "28x28x1" -> name of a classifier -> MACs, and "layers", from the file."""
    return tomllib.loads(_FILE.read_text(encoding="utf-8"))


@functools.cache
def count_macs(name: str, image_shape: ImageShape) -> int:
    """Build a classifier; return the MACs of its convolutions and dense layers for one image."""
    total = 0
    for layer in _all_layers(CLASSIFIERS.get(name).build(image_shape, NUM_CLASSES)):
        if isinstance(layer, keras.layers.Dense):
            total += math.prod(layer.kernel.shape)
        elif isinstance(layer, keras.layers.Conv2D):
            total += math.prod(layer.kernel.shape) * math.prod(layer.output.shape[1:3])
    return total


@functools.cache
def count_layers(name: str, image_shape: ImageShape) -> int:
    """Build a classifier; return the number of its convolutions and dense layers."""
    counted = (keras.layers.Dense, keras.layers.Conv2D)
    model = CLASSIFIERS.get(name).build(image_shape, NUM_CLASSES)
    return sum(isinstance(layer, counted) for layer in _all_layers(model))


def _all_layers(model: keras.Layer) -> list[keras.Layer]:
    parts = getattr(model, "layers", [])
    return [model, *(layer for part in parts for layer in _all_layers(part))]
