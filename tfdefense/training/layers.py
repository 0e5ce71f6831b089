"""The layers that networks are made of."""

from collections.abc import Iterable, Iterator

import keras


def with_parts(networks: Iterable[keras.Layer]) -> Iterator[keras.Layer]:
    """Each of `networks` and of the layers within them, at any depth, once."""
    waiting, met = list(networks), set()
    while waiting:
        layer = waiting.pop()
        if id(layer) not in met:
            met.add(id(layer))
            waiting.extend(getattr(layer, "layers", ()))
            yield layer
