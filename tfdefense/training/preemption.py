"""Being asked to leave: a machine that goes away sends SIGTERM first."""

import signal
import threading
from types import FrameType
from typing import Any


class Preemption:
    """Within it, SIGTERM no longer ends the process, but is remembered.

    Outside of the main thread, where Python takes no signals, it does nothing.

    Attributes:
      asked: whether SIGTERM has come.
    """

    def __init__(self) -> None:
        self.asked = False
        self._before: Any = None

    def __enter__(self) -> "Preemption":
        if threading.current_thread() is threading.main_thread():
            self._before = signal.signal(signal.SIGTERM, self._remember)
        return self

    def __exit__(self, *_: object) -> None:
        if self._before is not None:
            signal.signal(signal.SIGTERM, self._before)

    def _remember(self, number: int, frame: FrameType | None) -> None:
        del number, frame
        self.asked = True
