"""Handling of SIGTERM, the signal that a cluster sends before it takes a machine away."""

import contextlib
import signal
import threading
from collections.abc import Iterator
from types import FrameType
from typing import Any

from tfdefense.errors import PreemptedError


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

    def __exit__(self, _: object, error: BaseException | None, __: object) -> None:
        if self._previous is None:
            return
        signal.signal(signal.SIGTERM, self._previous)
        failed = error is not None and not isinstance(error, PreemptedError)
        if self.requested and failed and callable(self._previous):
            signal.raise_signal(signal.SIGTERM)  # The block failed before it saw the signal.

    def _on_sigterm(self, number: int, frame: FrameType | None) -> None:
        del number, frame
        self.requested = True


class _SigtermError(BaseException):
    """SIGTERM arrived. Like `KeyboardInterrupt`, it passes `except Exception`."""


@contextlib.contextmanager
def raise_on_sigterm(what: str) -> Iterator[None]:
    """Make SIGTERM end the block, as Ctrl-C does.

    A `PreemptionHandler` inside the block takes precedence. Outside the main thread nothing changes.

    Args:
      what: what the signal stops, for the message.

    Raises:
      PreemptedError: SIGTERM arrived.
    """

    def stop(number: int, frame: FrameType | None) -> None:
        del number, frame
        raise _SigtermError

    previous = signal.getsignal(signal.SIGTERM)
    if previous is None or threading.current_thread() is not threading.main_thread():
        yield
        return
    try:
        signal.signal(signal.SIGTERM, stop)
        yield
    except _SigtermError:
        raise PreemptedError(f"{what}: stopped by SIGTERM. Repeat the command to resume.") from None
    finally:
        signal.signal(signal.SIGTERM, previous)
