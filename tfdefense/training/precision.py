"""Training in bfloat16, of which half as many bytes are moved and twice as many multiplied."""

import contextlib
from collections.abc import Iterable, Iterator
from typing import Any

import keras

NAMES = ("float32", "bfloat16")


@contextlib.contextmanager
def computing(items: Iterable[Any], precision: str) -> Iterator[None]:
    """Within it, the layers of the networks among `items` compute in `precision`.

    Weights, what the networks give, losses, the gradient penalty and the optimizer's slots stay float32. Outside
    of it so does everything: what is validated, judged and exported computes in float32.
    """
    layers = [
        layer
        for item in items
        if isinstance(item, keras.Layer) and precision != "float32"
        for layer in _with_parts(item)
    ]
    before = [layer.dtype_policy for layer in layers]
    for layer in layers:
        layer.dtype_policy = keras.dtype_policies.get("mixed_bfloat16")
    try:
        yield
    finally:
        for layer, policy in zip(layers, before, strict=True):
            layer.dtype_policy = policy


def _with_parts(layer: keras.Layer) -> Iterator[keras.Layer]:
    yield layer
    for part in getattr(layer, "layers", ()):
        yield from _with_parts(part)
