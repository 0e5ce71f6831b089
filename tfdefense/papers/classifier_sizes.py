"""Operations, values and layers of classifiers, which determine how long they take.

`classifier_sizes.toml` has those of registered classifiers for the images of the papers, so that an
estimate builds no network, which would need TensorFlow. A test compares it with the networks.
"""

import functools
import math
import tomllib
from pathlib import Path
from typing import Any

import keras

from tfdefense.classifiers import CLASSIFIERS
from tfdefense.classifiers.core.architecture import ImageShape

NUM_CLASSES = 10
_FILE = Path(__file__).with_name("classifier_sizes.toml")
_WITHOUT_VALUES = (keras.Model, keras.layers.InputLayer)


def classifier_macs(name: str, image_shape: ImageShape) -> float:
    """Return the multiply-accumulate operations of a registered classifier for one image.

    Args:
      name: registered name.
      image_shape: (H, W, C).
    """
    return _stored_size("macs", name, image_shape) or count_macs(name, image_shape)


def classifier_values(name: str, image_shape: ImageShape) -> float:
    """Return the values that the layers of a registered classifier give for one image.

    Args:
      name: registered name.
      image_shape: (H, W, C).
    """
    return _stored_size("values", name, image_shape) or count_values(name, image_shape)


def classifier_layers(name: str, image_shape: ImageShape) -> int:
    """Return the number of convolutions and dense layers of a registered classifier."""
    known = stored_sizes()["layers"]
    return known[name] if name in known else count_layers(name, image_shape)


@functools.cache
def stored_sizes() -> dict[str, dict[str, Any]]:
    """Return "macs" and "values", shape such as "28x28x1" -> name -> number, and "layers"."""
    return tomllib.loads(_FILE.read_text(encoding="utf-8"))


@functools.cache
def count_macs(name: str, image_shape: ImageShape) -> int:
    """Build a classifier; return the operations of its convolutions and dense layers."""
    total = 0
    for layer in _all_layers(name, image_shape):
        if isinstance(layer, keras.layers.Dense):
            total += math.prod(layer.kernel.shape)
        elif isinstance(layer, keras.layers.Conv2D):
            total += math.prod(layer.kernel.shape) * math.prod(layer.output.shape[1:3])
    return total


@functools.cache
def count_values(name: str, image_shape: ImageShape) -> int:
    """Build a classifier; return the number of values that its layers give."""
    layers = _all_layers(name, image_shape)
    return sum(
        math.prod(layer.output.shape[1:])
        for layer in layers
        if not isinstance(layer, _WITHOUT_VALUES)
    )


@functools.cache
def count_layers(name: str, image_shape: ImageShape) -> int:
    """Build a classifier; return the number of its convolutions and dense layers."""
    counted = (keras.layers.Dense, keras.layers.Conv2D)
    return sum(isinstance(layer, counted) for layer in _all_layers(name, image_shape))


def _all_layers(name: str, image_shape: ImageShape) -> list[keras.Layer]:
    return _with_parts(CLASSIFIERS.get(name).build(image_shape, NUM_CLASSES))


def _with_parts(layer: keras.Layer) -> list[keras.Layer]:
    parts = getattr(layer, "layers", [])
    return [layer, *(nested for part in parts for nested in _with_parts(part))]


def _stored_size(kind: str, name: str, image_shape: ImageShape) -> int | None:
    """Return "macs" or "values" from the file; None if it has none for this name and shape."""
    return stored_sizes()[kind].get("x".join(map(str, image_shape)), {}).get(name)
