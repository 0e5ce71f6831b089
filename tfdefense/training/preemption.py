"""Handling of SIGTERM, the signal that a cluster sends before it takes a machine away."""

import signal
import threading
from types import FrameType
from typing import Any


class PreemptionHandler:
    """Context in which SIGTERM sets `requested` and does not end the process.

    Outside the main thread it does nothing, because Python handles signals only there.

    Attributes:
      requested: true after SIGTERM.
    """

    def __init__(self) -> None:
        self.requested = False
        self._previous: Any = None

    def __enter__(self) -> "PreemptionHandler":
        if threading.current_thread() is threading.main_thread():
            self._previous = signal.signal(signal.SIGTERM, self._on_sigterm)
        return self

    def __exit__(self, *_: object) -> None:
        if self._previous is not None:
            signal.signal(signal.SIGTERM, self._previous)

    def _on_sigterm(self, number: int, frame: FrameType | None) -> None:
        del number, frame
        self.requested = True
