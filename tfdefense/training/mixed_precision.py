"""Precision of layers: training in bfloat16, and inference in float32.

bfloat16 has half the bytes to move, and up to twice the multiplications per second.
"""

import contextlib
from collections.abc import Iterable, Iterator
from typing import Any

import keras

from tfdefense.training.nested_layers import collect_nested_layers

PRECISIONS = ("float32", "bfloat16")


@contextlib.contextmanager
def compute_in(networks: Iterable[keras.Layer], precision: str) -> Iterator[None]:
    """Make the layers of `networks` compute in `precision` inside this context.

    Weights, outputs of networks, losses, the gradient penalty and the state of the optimizer stay
    float32. Outside the context all layers compute in float32: validation, evaluation and export.

    Args:
      networks: networks with all their layers.
      precision: one of `PRECISIONS`.
    """
    layers = collect_nested_layers(networks) if precision != "float32" else []
    with _dtype_policy(layers, "mixed_bfloat16"):
        yield


def has_mixed_layers(model: Any) -> bool:
    """Return true for a Keras model with layers that compute in 16 bits with float32 weights."""
    return isinstance(model, keras.Model) and bool(_mixed_layers(model))


@contextlib.contextmanager
def compute_in_float32(model: keras.Model) -> Iterator[None]:
    """Make the layers of mixed precision compute in float32 inside this context.

    In float16 gradients below 6e-8 are 0, so attacks on a confident model would look weak.

    Args:
      model: the model with all its layers.
    """
    with _dtype_policy(_mixed_layers(model), "float32"):
        yield


def _mixed_layers(model: keras.Model) -> list[keras.Layer]:
    return [
        layer
        for layer in collect_nested_layers([model])
        if not isinstance(layer.dtype_policy, keras.dtype_policies.DTypePolicyMap)
        and layer.compute_dtype in ("float16", "bfloat16")
        and layer.variable_dtype == "float32"
    ]


@contextlib.contextmanager
def _dtype_policy(layers: list[keras.Layer], name: str) -> Iterator[None]:
    """Give all layers one policy inside this context."""
    policies = [layer.dtype_policy for layer in layers]
    for layer in layers:
        layer.dtype_policy = keras.dtype_policies.get(name)
    try:
        yield
    finally:
        for layer, policy in zip(layers, policies, strict=True):
            layer.dtype_policy = policy
