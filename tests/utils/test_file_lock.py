import subprocess
import sys

import pytest

from tfdefense.errors import DirectoryLockedError, UserError
from tfdefense.training.run_directory import RunDirectory
from tfdefense.training.stored_config import StoredConfig
from tfdefense.utils.file_lock import lock_directory, release_directory

LOCK = """
import sys
from pathlib import Path
from tfdefense.utils.file_lock import lock_directory
lock_directory(Path(sys.argv[1]), "run")
print("locked", flush=True)
sys.stdin.read()
"""


@pytest.fixture
def other_process(tmp_path):
    """A process that locks the directory until it is killed."""
    process = subprocess.Popen(
        [sys.executable, "-c", LOCK, str(tmp_path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout.readline() == "locked\n"
    yield process
    process.kill()
    process.wait()


def lock_in_new_process(directory):
    return subprocess.run(
        [sys.executable, "-c", LOCK, str(directory)], input="", capture_output=True, text=True
    )


def test_a_released_directory_can_be_locked_by_another_process(tmp_path):
    lock_directory(tmp_path, "run")
    assert "in use by another process" in lock_in_new_process(tmp_path).stderr
    release_directory(tmp_path)
    release_directory(tmp_path)
    assert lock_in_new_process(tmp_path).stdout == "locked\n"


def test_the_second_process_is_refused_and_the_first_may_lock_again(tmp_path, other_process):
    config = StoredConfig("defense", {"seed": 0})
    run = RunDirectory(tmp_path)
    with pytest.raises(
        DirectoryLockedError,
        match=rf"in use by another process \(process ID {other_process.pid}\)",
    ):
        run.create_or_reuse(config)
    assert not run.exists()
    other_process.kill()  # The operating system releases the lock.
    other_process.wait()
    run.create_or_reuse(config)
    run.create_or_reuse(config)
    assert run.exists()


def test_a_file_of_another_program_is_not_replaced(tmp_path):
    (tmp_path / ".lock").write_text("PID=7 HOST=here")
    with pytest.raises(UserError, match=r"\.lock is a file of another program"):
        lock_directory(tmp_path, "run")
    assert (tmp_path / ".lock").read_text() == "PID=7 HOST=here"
