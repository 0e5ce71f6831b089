"""Trials: work on files from strangers is done in a child process first, with limits.

A file can make a library abort the process, exhaust its memory or never return. A trial finds that
out at no risk for the caller. It is not a sandbox: the child has the rights of the caller.

One server process imports the modules once; each trial is a fork of it. See `child_trial_server`.
"""

import atexit
import base64
import contextlib
import json
import os
import pickle
import select
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from typing import Any, NamedTuple

from tfdefense.errors import UserError, WorkFailedError
from tfdefense.utils.huge_pages import usual_pages

# It registers all layers that a model file can name.
_PRELOADED = "tfdefense.classifiers"
# A busy machine gives a trial few of its processors.
WAIT_FACTOR = 3
_SAY_AFTER_SECONDS = 2.0
_START_SECONDS = 300.0
_EXTRA_SECONDS = 10.0  # The server itself ends a trial in time, unless it hangs.
# Each thread and each of its memory arenas reserves addresses, which count as memory of the trial.
_ENVIRONMENT = {
    "CUDA_VISIBLE_DEVICES": "-1",
    "TF_CPP_MIN_LOG_LEVEL": "3",
    "MALLOC_ARENA_MAX": "1",
    "OMP_NUM_THREADS": "4",
    "TF_NUM_INTEROP_THREADS": "4",
    "TF_NUM_INTRAOP_THREADS": "4",
}
_lock = threading.Lock()
_servers: list["_Server"] = []


class TrialLimits(NamedTuple):
    """Limits of a trial.

    Attributes:
      seconds: processor time; a trial that waits ends after three times as long.
      memory: bytes of memory beyond those of the server process. Enforced on Linux.
    """

    seconds: float
    memory: int


class TrialRaised(NamedTuple):
    """Python exception of a trial: name of its type, and its text."""

    kind: str
    text: str


def start_trial_server() -> None:
    """Start the server in the background, so that a later `try_in_child` need not wait for it."""
    with _lock:
        _running_server()


def try_in_child(
    work: Callable[..., object], arguments: tuple[Any, ...], limits: TrialLimits, place: str
) -> TrialRaised | None:
    """Call a function in a child process, and discard its result.

    Args:
      work: a function of a module.
      arguments: its arguments, which can be pickled.
      limits: time and memory.
      place: start of error messages, such as "--classifier=FILE".

    Returns:
      None if the function returned; the exception that it raised.

    Raises:
      UserError: it aborted or crashed, or exceeded a limit.
      WorkFailedError: the server process cannot start.
    """
    call = base64.b64encode(pickle.dumps((work, arguments))).decode()
    with _lock:
        answer = _running_server().ask(call, limits, place)
    if "raised" in answer:
        kind, text = map(str, answer["raised"])
        if kind not in ("MemoryError", "ResourceExhaustedError"):
            return TrialRaised(kind, text)
        answer = {"memory": True}
    if "finished" in answer:
        return None
    if "timeout" in answer:
        reason = f"did not finish within {limits.seconds:.0f} seconds"
    elif "memory" in answer:
        reason = f"needs more than {limits.memory / 2**30:.1f} GiB of memory"
    else:
        reason = f"ended the process ({_describe_end(answer)})"
    raise UserError(
        f"{place}: {reason} when it was tried in a child process. It is damaged or hostile. If"
        " you trust it: --unsafe_load."
    )


class _Server:
    """The server process and its pipes."""

    def __init__(self) -> None:
        path = os.pathsep.join(os.path.abspath(entry) for entry in sys.path)
        # It gets the traceback if the import fails.
        self._messages = tempfile.TemporaryFile()  # noqa: SIM115
        self.process = subprocess.Popen(
            [sys.executable, "-P", "-m", "tfdefense.utils.child_trial_server", _PRELOADED],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._messages,
            env={**os.environ, "PYTHONPATH": path, **usual_pages(), **_ENVIRONMENT},
            start_new_session=True,  # Ctrl-C is for the caller alone.
        )
        self._is_ready = False
        self._number = 0
        self._say_at = float("inf")

    def ask(self, call: str, limits: TrialLimits, place: str) -> dict[str, Any]:
        """Send a request and return the answer; stop the server if it does not answer the request.

        A late answer must not be taken for that of the next request, so answers are numbered, and a
        server that is late is stopped.

        Raises:
          WorkFailedError: the server cannot start.
        """
        self._say_at = time.monotonic() + _SAY_AFTER_SECONDS
        self._number += 1
        answer: dict[str, Any] | None = {}
        try:
            self._wait_until_ready(place)
            self._send([self._number, call, *limits])
            answer = self._receive(WAIT_FACTOR * limits.seconds + _EXTRA_SECONDS, place)
        except OSError:  # The server has ended.
            pass
        finally:  # Also if it is interrupted.
            has_answered = answer is not None and answer.get("number") == self._number
            if not has_answered:
                self.stop()
        if answer is None:
            return {"timeout": True}
        return answer if has_answered else {}

    def _wait_until_ready(self, place: str) -> None:
        if self._is_ready:
            return
        started = self._receive(_START_SECONDS, place)
        if not started:
            self._messages.seek(0)
            lines = self._messages.read().decode(errors="replace").split("\n")
            reason = next((line for line in reversed(lines) if line.strip()), "no reason given")
            if started is None:
                reason = f"not within {_START_SECONDS:.0f} seconds"
            raise WorkFailedError(
                f"{place}: the process that tries model files cannot start: {reason}"
            )
        self._is_ready = True

    def _send(self, request: list[Any]) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps(request).encode() + b"\n")
        self.process.stdin.flush()

    def _receive(self, seconds: float, place: str) -> dict[str, Any] | None:
        """Return the next line of the server; None if there is none in time, {} if it has ended."""
        assert self.process.stdout is not None
        deadline = time.monotonic() + seconds
        while not select.select([self.process.stdout], [], [], 0.5)[0]:
            if time.monotonic() > deadline:
                return None
            if time.monotonic() > self._say_at:
                from tfdefense.utils.progress import print_line  # Imports TensorFlow.

                print_line(f"{place}: trying it in a child process ...")
                self._say_at = float("inf")
        line = self.process.stdout.readline()
        with contextlib.suppress(ValueError, TypeError):
            return dict(json.loads(line))
        return {}

    def stop(self) -> None:
        """End the process and the trial in it, which is in its process group."""
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()


def _running_server() -> _Server:
    if not _servers or _servers[0].process.poll() is not None:
        _servers[:] = [_Server()]
    return _servers[0]


def _describe_end(answer: dict[str, Any]) -> str:
    if "signal" in answer:
        with contextlib.suppress(ValueError):
            return signal.Signals(int(answer["signal"])).name
    return f"status {answer.get('status', 'unknown')}"


@atexit.register
def _stop_servers() -> None:
    for server in _servers:
        server.stop()
