"""The layers that networks are made of."""

from collections.abc import Iterable, Iterator

import keras


def with_parts(networks: Iterable[keras.Layer]) -> Iterator[keras.Layer]:
    """Each of `networks` and of the layers within them, at any depth, once."""
    met = set()
    for network in networks:
        # Keras makes no public list of the layers of a layer, as of an attention's dropout.
        for layer in network._flatten_layers():
            if id(layer) not in met:
                met.add(id(layer))
                yield layer
