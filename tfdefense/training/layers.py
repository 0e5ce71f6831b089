"""The layers that networks are made of."""

from collections.abc import Iterable

import keras


def with_parts(networks: Iterable[keras.Layer]) -> list[keras.Layer]:
    """Each of `networks` and of the layers within them, at any depth, once."""
    # Keras makes no public list of the layers of a layer, as of an attention's dropout.
    parts = (layer for network in networks for layer in network._flatten_layers())
    return list({id(layer): layer for layer in parts}.values())
