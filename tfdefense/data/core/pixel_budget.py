"""Limit of the pixels that threads decode at the same time."""

import contextlib
import threading
from collections.abc import Iterator


class PixelBudget:
    """Shared limit, so that memory does not grow with the number of threads that decode large images.

    Args:
      limit: pixels of all images that are decoded at the same time. A larger image is decoded alone.
    """

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._free = limit
        self._changed = threading.Condition()

    @contextlib.contextmanager
    def take(self, pixels: int) -> Iterator[None]:
        """Wait until `pixels` are free, and occupy them in the `with` block. Blocks must not nest."""
        share = min(pixels, self._limit)
        with self._changed:
            self._changed.wait_for(lambda: share <= self._free)
            self._free -= share
        try:
            yield
        finally:
            with self._changed:
                self._free += share
                self._changed.notify_all()
