"""Waits inside TensorFlow that signals can end.

Python runs the handler of a signal only between two of its own instructions. A process that waits
inside TensorFlow for another worker, which may never come, would not obey Ctrl-C or SIGTERM.
"""

import contextlib
import os
import select
import signal
import sys
import threading
import time
from collections.abc import Iterator

_SIGNALS = {int(signal.SIGINT): "interrupted", int(signal.SIGTERM): "stopped by SIGTERM"}
_SAY_AFTER_SECONDS = 10.0
_SAY_LONG_GRACE = 30.0
_is_watching = False


@contextlib.contextmanager
def interruptible_wait(
    what: str, grace: float, grace_of_sigterm: float | None = None
) -> Iterator[None]:
    """End the process if a signal arrives in the block and the block does not end in time.

    The exit status is 128 and the number of the signal: 130 or 143. A second signal ends the process
    at once. A block that takes more than 10 seconds says so.

    Outside the main thread the block is not watched, because Python handles signals only in the main
    thread. A block inside another one is not watched either: the outer one counts.

    Args:
      what: what the block waits for, for the messages: "all workers".
      grace: seconds that the block has to end after the signal.
      grace_of_sigterm: the same after SIGTERM, whose handler can save the work; None means `grace`.
    """
    global _is_watching
    if _is_watching or threading.current_thread() is not threading.main_thread():
        yield
        return
    readable, writable = os.pipe()
    os.set_blocking(writable, False)
    graces = {
        int(signal.SIGINT): grace,
        int(signal.SIGTERM): grace if grace_of_sigterm is None else grace_of_sigterm,
    }
    watcher = threading.Thread(target=_watch, args=(readable, what, graces), daemon=True)
    previous = signal.set_wakeup_fd(writable, warn_on_full_buffer=False)
    _is_watching = True
    watcher.start()
    try:
        yield
    finally:
        _is_watching = False
        signal.set_wakeup_fd(previous)
        os.close(writable)  # Ends the watcher.
        watcher.join()
        os.close(readable)


def _watch(readable: int, what: str, graces: dict[int, float]) -> None:
    """Read signals until the block ends; end the process when the grace of the first is over."""
    first, deadline = 0, float("inf")
    say_at = time.monotonic() + _SAY_AFTER_SECONDS
    while True:
        seconds = min(deadline, say_at) - time.monotonic()
        timeout = None if seconds == float("inf") else max(0.0, seconds)
        if select.select([readable], [], [], timeout)[0]:
            received = os.read(readable, 1)
            if not received:
                return
            if received[0] not in graces:
                continue
            if first:
                _end_process(first, what)
            first, grace = received[0], graces[received[0]]
            deadline = time.monotonic() + grace
            if grace >= _SAY_LONG_GRACE:
                _say(
                    f"{_SIGNALS[first]}; waiting for {what} up to {grace:.0f} seconds, to save the"
                    " work. A second signal ends this process at once."
                )
        elif time.monotonic() >= deadline:
            _end_process(first, what)
        elif time.monotonic() >= say_at:
            _say(f"waiting for {what} ...")
            say_at = float("inf")


def _end_process(number: int, what: str) -> None:
    _say(f"{_SIGNALS[number]} while waiting for {what}.")
    os._exit(128 + number)


def _say(text: str) -> None:
    """Write a line to standard error, without locks, which the waiting thread could hold."""
    with contextlib.suppress(OSError, ValueError):
        os.write(sys.__stderr__.fileno() if sys.__stderr__ else 2, f"tfdefense: {text}\n".encode())
