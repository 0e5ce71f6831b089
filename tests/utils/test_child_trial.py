"""Trials in a child process: limits, ends of the process, late answers, interruptions."""

import contextlib
import os
import signal
import time
from pathlib import Path

import pytest

from tfdefense.errors import UserError, WorkFailedError
from tfdefense.utils import child_trial
from tfdefense.utils.child_trial import WAIT_FACTOR, TrialLimits, TrialRaised, try_in_child

LIMITS = TrialLimits(30.0, 2**30)


def finish():
    print("a line that must not reach the pipe")


def fail():
    raise KeyError("why")


def abort():
    os.abort()


def leave():
    os._exit(0)


def never_end():
    while True:
        time.sleep(0.01)


def compute_for_ever():
    while True:
        pass


def take_memory():
    return bytearray(2**40)


@pytest.fixture(autouse=True)
def _light_server(monkeypatch):
    """Use a server of the test's own, which does not import TensorFlow."""
    monkeypatch.setattr(child_trial, "_PRELOADED", "json")
    monkeypatch.setattr(child_trial, "_servers", [])
    yield
    for server in child_trial._servers:
        server.stop()


def test_work_that_returns_or_raises_is_reported():
    assert try_in_child(finish, (), LIMITS, "--classifier=x") is None
    assert try_in_child(fail, (), LIMITS, "--classifier=x") == TrialRaised("KeyError", "'why'")


@pytest.mark.parametrize(
    ("work", "limits", "message"),
    [
        (abort, LIMITS, r"x: ended the process \(SIGABRT\)"),
        (leave, LIMITS, r"x: ended the process \(status 0\)"),
        (never_end, TrialLimits(1.0, 2**30), "x: did not finish within 1 seconds"),
        (compute_for_ever, TrialLimits(1.0, 2**30), "x: did not finish within 1 seconds"),
        (take_memory, LIMITS, "x: needs more than 1.0 GiB of memory"),
    ],
)
def test_work_that_ends_the_process_is_one_line(work, limits, message):
    with pytest.raises(UserError, match=message):
        try_in_child(work, (), limits, "--classifier=x")
    assert try_in_child(finish, (), LIMITS, "--classifier=x") is None, "the server still works"


def fail_at_length():
    raise KeyError("\U0001f600" * 5000)


def finish_late():
    time.sleep(1.5)


def write_number_and_never_end(path):
    Path(path).write_text(str(os.getpid()))
    never_end()


def _is_alive(number):
    with contextlib.suppress(ProcessLookupError):
        os.kill(number, 0)
        return True
    return False


def test_the_text_of_an_exception_is_cut():
    raised = try_in_child(fail_at_length, (), LIMITS, "--classifier=x")
    assert raised is not None
    assert raised.kind == "KeyError"
    assert "\U0001f600" * 1000 in raised.text


def test_a_late_answer_is_not_taken_for_that_of_the_next_request(monkeypatch):
    try_in_child(finish, (), LIMITS, "--classifier=x")
    with monkeypatch.context() as patched:
        patched.setattr(child_trial, "_EXTRA_SECONDS", 0.5 - WAIT_FACTOR * LIMITS.seconds)
        with pytest.raises(UserError, match="did not finish"):
            try_in_child(finish_late, (), LIMITS, "--classifier=x")
    time.sleep(1.5)
    assert try_in_child(fail, (), LIMITS, "--classifier=x") == TrialRaised("KeyError", "'why'")


def test_an_interrupted_trial_ends(tmp_path):
    path = tmp_path / "number"

    def interrupt(*_):
        if path.is_file() and path.read_text():
            raise KeyboardInterrupt

    previous = signal.signal(signal.SIGALRM, interrupt)
    signal.setitimer(signal.ITIMER_REAL, 0.2, 0.2)
    try:
        with pytest.raises(KeyboardInterrupt):
            try_in_child(write_number_and_never_end, (str(path),), LIMITS, "--classifier=x")
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, previous)
    deadline = time.monotonic() + 5
    while _is_alive(int(path.read_text())) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not _is_alive(int(path.read_text()))
    assert try_in_child(finish, (), LIMITS, "--classifier=x") is None, "a new server is started"


def test_a_server_that_cannot_start_is_not_the_fault_of_the_file(monkeypatch):
    monkeypatch.setattr(child_trial, "_PRELOADED", "tfdefense.no_such_module")
    with pytest.raises(WorkFailedError, match=r"x: the process .* cannot start: ModuleNotFound"):
        try_in_child(finish, (), LIMITS, "--classifier=x")
