"""Server process of `child_trial`: forks once for each request, and enforces the limits.

It is started with the name of a module to import, and then writes a line that it is ready. A request
is one line on standard input, a JSON list of a number, a pickled call, seconds and bytes. The answer
is one line on standard output, a JSON object with the number and one of the keys "finished",
"raised", "timeout", "signal" and "status". The server ends when its standard input is closed.
"""

import base64
import importlib
import json
import math
import os
import pickle
import resource
import select
import signal
import sys
import time
from typing import Any, BinaryIO

from tfdefense.utils.child_trial import WAIT_FACTOR

_MAX_TEXT = 2_000
# A character takes up to 12 bytes in JSON.
_MAX_ANSWER = 12 * _MAX_TEXT + 1_000
_PAGE = resource.getpagesize()


def main() -> None:
    """Answer requests until standard input is closed."""
    answers = os.fdopen(os.dup(1), "wb")
    nowhere = os.open(os.devnull, os.O_RDWR)
    os.dup2(nowhere, 1)
    # Imported once, before the first fork. No operation may run here: TensorFlow's threads would not
    # exist in a fork.
    importlib.import_module(sys.argv[1])
    os.dup2(nowhere, 2)  # Until here it gets the traceback of an import that fails.
    _write_line(answers, {"ready": True})

    while line := sys.stdin.buffer.readline():
        number, *request = json.loads(line)
        _write_line(answers, {**_try(*request), "number": number})


def _write_line(answers: BinaryIO, answer: dict[str, Any]) -> None:
    answers.write(json.dumps(answer).encode() + b"\n")
    answers.flush()


def _try(call: str, seconds: float, memory: int) -> dict[str, Any]:
    """Return the answer to one request."""
    readable, writable = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(readable)
        _run(call, (seconds, memory), writable)
    os.close(writable)
    try:
        text = _read_answer(readable, time.monotonic() + WAIT_FACTOR * seconds)
    finally:
        os.close(readable)
    os.kill(child, signal.SIGKILL)  # It has ended, or is late, or has closed the pipe and goes on.
    _, status = os.waitpid(child, 0)
    used_up = os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGXCPU
    if text is None or used_up:
        return {"timeout": True}
    try:
        return dict(json.loads(text))
    except (ValueError, TypeError):
        if os.WIFSIGNALED(status):
            return {"signal": os.WTERMSIG(status)}
        return {"status": os.waitstatus_to_exitcode(status)}


def _read_answer(readable: int, deadline: float) -> bytes | None:
    """Return what the child wrote until it ended; None after the deadline or without a caller."""
    text = b""
    while len(text) <= _MAX_ANSWER:
        left = deadline - time.monotonic()
        ready = select.select([readable, sys.stdin.fileno()], [], [], max(0.0, left))[0]
        if readable not in ready:
            return None  # Standard input is readable only if the caller has closed it.
        part = os.read(readable, 4096)
        if not part:
            return text
        text += part
    return b""


def _run(call: str, limits: tuple[float, int], writable: int) -> None:
    """Run a call in the forked process, write the answer and end the process.

    Args:
      call: the pickled call.
      limits: seconds of processor time, and bytes of memory.
      writable: the pipe for the answer.
    """
    try:
        seconds = math.ceil(limits[0])
        resource.setrlimit(resource.RLIMIT_CPU, (seconds, seconds + 1))
        _limit_memory(limits[1])
        work, arguments = pickle.loads(base64.b64decode(call))
        try:
            work(*arguments)
            answer: dict[str, Any] = {"finished": True}
        except BaseException as error:
            answer = {"raised": [type(error).__name__[:50], str(error)[:_MAX_TEXT]]}
        os.write(writable, json.dumps(answer).encode())
    finally:  # Whatever was raised, this process must not return to the loop of the server.
        os._exit(0)


def _limit_memory(memory: int) -> None:
    """Limit the address space to what it is now and `memory` bytes more."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    if not sys.platform.startswith("linux"):
        return
    with open("/proc/self/statm", encoding="ascii") as file:
        limit = int(file.read().split()[0]) * _PAGE + memory
    _, hard = resource.getrlimit(resource.RLIMIT_AS)
    if hard == resource.RLIM_INFINITY or limit < hard:
        resource.setrlimit(resource.RLIMIT_AS, (limit, limit))


if __name__ == "__main__":
    main()
