import subprocess
import sys

import pytest

from tfdefense.errors import UserError
from tfdefense.training.run_directory import Run, RunConfig
from tfdefense.utils.file_lock import release_directory

HOLD = """
import sys
from pathlib import Path
from tfdefense.locking import lock
lock(Path(sys.argv[1]), "run")
print("held", flush=True)
sys.stdin.read()
"""


@pytest.fixture
def other_process(tmp_path):
    """Holds the directory until its input ends."""
    process = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(tmp_path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout.readline() == "held\n"
    yield process
    process.kill()
    process.wait()


def test_what_is_released_is_open_to_others(tmp_path):
    run = Run(tmp_path)
    run.lock()
    held = subprocess.run(
        [sys.executable, "-c", HOLD, str(tmp_path)], input="", capture_output=True, text=True
    )
    assert "works in it" in held.stderr
    release_directory(tmp_path)
    release_directory(tmp_path)
    free = subprocess.run(
        [sys.executable, "-c", HOLD, str(tmp_path)], input="", capture_output=True, text=True
    )
    assert free.stdout == "held\n"


def test_the_second_process_is_refused_and_the_first_may_come_again(tmp_path, other_process):
    config = RunConfig("defense", {"seed": 0})
    run = Run(tmp_path)
    with pytest.raises(
        UserError, match=f"another process .number {other_process.pid}. works in it"
    ):
        run.start(config)
    assert not run.exists()
    other_process.kill()  # However it ends, it lets go.
    other_process.wait()
    run.start(config)
    run.start(config)
    assert run.exists()
