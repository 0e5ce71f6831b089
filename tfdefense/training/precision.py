"""Training in bfloat16, of which half as many bytes are moved and twice as many multiplied."""

import contextlib
from collections.abc import Iterable, Iterator

import keras

from tfdefense.training.layers import with_parts

NAMES = ("float32", "bfloat16")


@contextlib.contextmanager
def computing(networks: Iterable[keras.Layer], precision: str) -> Iterator[None]:
    """Within it, the layers of `networks` compute in `precision`.

    Weights, what the networks give, losses, the gradient penalty and the optimizer's slots stay float32. Outside
    of it so does everything: what is validated, judged and exported computes in float32.
    """
    layers = with_parts(networks) if precision != "float32" else []
    before = [layer.dtype_policy for layer in layers]
    for layer in layers:
        layer.dtype_policy = keras.dtype_policies.get("mixed_bfloat16")
    try:
        yield
    finally:
        for layer, policy in zip(layers, before, strict=True):
            layer.dtype_policy = policy
