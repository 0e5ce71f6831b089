"""All layers of a network, at any depth."""

from collections.abc import Iterable

import keras


def collect_nested_layers(networks: Iterable[keras.Layer]) -> list[keras.Layer]:
    """Return `networks` and all layers inside them, at any depth, each once."""
    # Keras has no public list of the layers inside a layer, such as the dropout of an attention.
    layers = (layer for network in networks for layer in network._flatten_layers())
    return list({id(layer): layer for layer in layers}.values())
