"""Frozen networks in a training: the classifier that a defence learns in front of."""

import contextlib
from collections.abc import Iterator, Sequence

import keras

from tfdefense.training.folded_batch_norm import use_folded_batch_norm
from tfdefense.training.fused_batch_norm import use_fused_batch_norm
from tfdefense.training.mixed_precision import compute_in


@contextlib.contextmanager
def infer_fast(networks: Sequence[keras.Layer], precision: str) -> Iterator[None]:
    """Make frozen networks compute as fast as in the steps of a training.

    They compute in `precision`, and normalise inside their convolutions or in one operation. It holds
    for everything that is traced inside. For learning only: attacks that measure a defence compute
    in float32, and `compile_cache` would keep what is compiled here for them.

    Args:
      networks: networks that are called in inference mode.
      precision: "float32" or "bfloat16".
    """
    with (
        compute_in(networks, precision),
        use_folded_batch_norm(networks),
        use_fused_batch_norm(networks),  # Skips layers that the line above replaces.
    ):
        yield
