"""Trust in model files, which `--unsafe_load` and `unsafe=True` give."""

import contextlib
from collections.abc import Iterator

_blocks = 0  # Number of blocks that trust and have not ended.


@contextlib.contextmanager
def trust_model_files(*, trusted: bool = True) -> Iterator[None]:
    """Trust every model file that this process reads in the block, in any thread.

    A model that was read in the block stays usable after it.

    Args:
      trusted: False changes nothing. A block inside one that trusts cannot withdraw the trust.
    """
    global _blocks
    _blocks += trusted
    try:
        yield
    finally:
        _blocks -= trusted


def trusts_model_files() -> bool:
    """Return whether this process trusts model files now."""
    return _blocks > 0
