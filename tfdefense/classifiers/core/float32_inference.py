"""Keras models of mixed precision whose layers compute in float32.

In float16 gradients below 6e-8 are 0, so attacks on a confident model would look weak; bfloat16
rounds values to 8 significant bits.
"""

import contextlib
from collections.abc import Iterator
from typing import Any

import keras

from tfdefense.training.mixed_precision import use_dtype_policy
from tfdefense.training.nested_layers import collect_nested_layers

# Quantised layers such as "int8_from_mixed_bfloat16" are not among them: their kernels are int8.
_MIXED = ("mixed_float16", "mixed_bfloat16")
_SIXTEEN_BITS = ("float16", "bfloat16")


def is_mixed(model: Any) -> bool:
    """Return whether this is a Keras model with layers of mixed precision."""
    return isinstance(model, keras.Model) and bool(_mixed_layers(model))


@contextlib.contextmanager
def compute_in_float32(model: keras.Model) -> Iterator[None]:
    """Make the layers of mixed precision compute in float32 inside this context.

    The layers themselves change meanwhile, so no other thread may use the model.

    Args:
      model: the model with all its layers.
    """
    inputs = _inputs_of_sixteen_bits(model)
    dtypes = [each.dtype for each in inputs]
    with use_dtype_policy(_mixed_layers(model), "float32"):
        # Keras converts images to the dtype of these inputs and has no public way to change it.
        for each in inputs:
            each._dtype = "float32"
        try:
            yield
        finally:
            for each, dtype in zip(inputs, dtypes, strict=True):
                each._dtype = dtype


def convert_to_float32(model: keras.Model) -> None:
    """Make the layers of mixed precision compute in float32 from now on, in training too."""
    for each in _inputs_of_sixteen_bits(model):
        each._dtype = "float32"
    for layer in _mixed_layers(model):
        layer.dtype_policy = keras.dtype_policies.get("float32")


def _mixed_layers(model: keras.Model) -> list[keras.Layer]:
    layers = collect_nested_layers([model])
    return [layer for layer in layers if layer.dtype_policy.name in _MIXED]


def _inputs_of_sixteen_bits(model: keras.Model) -> list[Any]:
    """Return the inputs with a dtype of 16 bits, as a `Sequential` without `Input` has them.

    They are input layers, and the tensors that functional models inside the model begin with.
    """
    inputs: dict[int, Any] = {}
    for layer in collect_nested_layers([model]):
        # A `Sequential` contains a functional model.
        begins = getattr(getattr(layer, "_functional", None) or layer, "_inputs", ())
        found = [layer] if isinstance(layer, keras.layers.InputLayer) else begins
        inputs |= {id(each): each for each in found if each.dtype in _SIXTEEN_BITS}
    return list(inputs.values())
