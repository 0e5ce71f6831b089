"""Repeatable initial weights that leave the caller's random state unchanged."""

import contextlib
import random
from collections.abc import Iterator


@contextlib.contextmanager
def seed_layers(seed: int) -> Iterator[None]:
    """Determine initial weights and dropout masks of layers created in this context by `seed`.

    Keras 3 draws the seed of each initializer and dropout layer without a seed from Python's
    `random`. The state of `random` is restored at the end. The random states of NumPy and
    TensorFlow are not used.
    """
    state = random.getstate()
    random.seed(seed)
    try:
        yield
    finally:
        random.setstate(state)
