"""All layers of a network, at any depth, and a context in which layers compute otherwise."""

import contextlib
import functools
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import keras


def collect_nested_layers(networks: Iterable[keras.Layer]) -> list[keras.Layer]:
    """Return `networks` and all layers inside them, at any depth, each once."""
    # Keras has no public list of the layers inside a layer, such as the dropout of an attention.
    layers = (layer for network in networks for layer in network._flatten_layers())
    return list({id(layer): layer for layer in layers}.values())


def finalize_states(networks: Iterable[keras.Layer]) -> None:
    """Make layers such as `Normalization` compute with their weights, after these were assigned.

    They compute with constants, which Keras derives from the weights when it adapts or loads them.
    Layers without weights, such as `Discretization`, keep what they have: they would lose it.
    """
    for layer in collect_nested_layers(networks):
        if layer.weights and hasattr(layer, "finalize_state"):
            layer.finalize_state()


@contextlib.contextmanager
def replace_calls(layers: Sequence[keras.Layer], function: Callable[..., Any]) -> Iterator[None]:
    """Make each layer call `function(layer, *arguments)` in place of its own method in this context."""
    for layer in layers:
        layer.call = functools.partial(function, layer)
    try:
        yield
    finally:
        for layer in layers:
            del layer.call
