"""Comparison of the outputs of an exported model in two runtimes."""

import numpy as np

TOLERANCE = 1e-4
# Suspicion moves by ranks: a norm that is rounded otherwise passes others.
RANK_TOLERANCE = 0.02


def agrees(name: str, found: np.ndarray, expected: np.ndarray) -> bool:
    """Return whether two arrays of the output `name` have one shape and equal values.

    Real values may differ by rounding, and all others not at all.
    """
    tolerance = RANK_TOLERANCE if name == "suspicion" else TOLERANCE
    allowed = tolerance if np.issubdtype(expected.dtype, np.floating) else 0
    return found.shape == expected.shape and np.allclose(found, expected, rtol=0, atol=allowed)
