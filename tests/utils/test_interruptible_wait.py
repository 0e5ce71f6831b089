"""Signals end waits inside a library, which runs no handlers of Python."""

import subprocess
import sys
import time

import pytest

from tfdefense.utils import interruptible_wait as module
from tfdefense.utils.interruptible_wait import interruptible_wait

START = """
import ctypes, os, signal, threading
from tfdefense.utils.interruptible_wait import interruptible_wait
signal.signal(signal.SIGTERM, lambda *_: None)
# A shell ignores SIGINT in what it starts in the background.
signal.signal(signal.SIGINT, signal.default_int_handler)

def send(number):
    threading.Timer(0.5, os.kill, (os.getpid(), number)).start()

library, mutex = ctypes.CDLL(None), ctypes.create_string_buffer(64)
library.pthread_mutex_lock(mutex)

def wait_for_ever():
    library.pthread_mutex_lock(mutex)

"""


def run(code):
    return subprocess.run(
        [sys.executable, "-c", START + code], capture_output=True, text=True, timeout=30
    )


@pytest.mark.parametrize(("name", "status"), [("SIGINT", 130), ("SIGTERM", 143)])
def test_signals_end_a_wait_inside_a_library(name, status):
    result = run(
        f"send(signal.{name})\nwith interruptible_wait('all workers', grace=0.2): wait_for_ever()"
    )
    assert result.returncode == status
    assert result.stderr.endswith("while waiting for all workers.\n")


def test_the_outer_of_two_blocks_decides():
    result = run(
        "send(signal.SIGINT)\n"
        "with interruptible_wait('all workers', grace=0.2):\n"
        "    with interruptible_wait('the others', grace=1000.0): wait_for_ever()"
    )
    assert result.returncode == 130
    assert result.stderr == "tfdefense: interrupted while waiting for all workers.\n"


def test_a_second_signal_ends_the_grace_of_sigterm():
    code = "with interruptible_wait('the others', 0.1, 600.0): os.write(2, b'ready\\n'); wait_for_ever()"
    with subprocess.Popen(
        [sys.executable, "-c", START + code], stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stderr is not None
        assert process.stderr.readline() == "ready\n"
        process.terminate()
        line = process.stderr.readline()
        assert line.startswith("tfdefense: stopped by SIGTERM; waiting for the others up to 600 s")
        process.terminate()
        line = process.stderr.readline()
        assert line == "tfdefense: stopped by SIGTERM while waiting for the others.\n"
    assert process.returncode == 143


def test_work_that_is_saved_in_time_is_not_ended():
    result = run(
        "send(signal.SIGTERM)\n"
        "with interruptible_wait('the others', 0.1, 600.0): library.usleep(900000)\n"
        "print('saved')"
    )
    assert (result.returncode, result.stdout) == (0, "saved\n")


def test_a_long_wait_is_printed(monkeypatch, capfd):
    monkeypatch.setattr(module, "_SAY_AFTER_SECONDS", 0.1)
    with interruptible_wait("the others", grace=1.0):
        time.sleep(0.5)
    with interruptible_wait("the others", grace=1.0):
        pass
    assert capfd.readouterr().err == "tfdefense: waiting for the others ...\n"
