"""Repeatable initial weights without touching anybody's random state."""

import contextlib
import random
from collections.abc import Iterator


@contextlib.contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Layers made inside get initial weights and dropout masks that follow from `seed`.

    Keras 3 takes the seed of every initializer and dropout layer that was given none from Python's
    `random`; its state is put back afterwards, and NumPy's and TensorFlow's are never touched.
    """
    state = random.getstate()
    random.seed(seed)
    try:
        yield
    finally:
        random.setstate(state)
