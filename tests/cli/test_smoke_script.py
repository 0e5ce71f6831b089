"""Errors of `examples/tf_serving/smoke.sh`; tests/soak/smoke_script.py runs it whole."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SCRIPT = ROOT / "examples" / "tf_serving" / "smoke.sh"


def run_script(*arguments, path):
    environment = {**os.environ, "PATH": path}
    return subprocess.run(
        [str(SCRIPT), *map(str, arguments)],
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


@pytest.fixture
def tools(tmp_path):
    """A directory with the programs that the script needs, without Docker."""
    directory = tmp_path / "tools"
    directory.mkdir()
    for program in ["sh", "dirname", "cat", "rm", "mkdir", "mktemp", "sleep", "head", "readlink"]:
        (directory / program).symlink_to(shutil.which(program))
    return directory


def test_a_missing_docker_is_one_line(tools, tmp_path):
    (tmp_path / "config.json").touch()
    done = run_script(tmp_path, path=str(tools))
    assert done.returncode == 2
    assert done.stderr.startswith("smoke.sh: docker is missing. Install Docker")
    assert done.stderr.count("\n") == 1


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "usage: examples/tf_serving/smoke.sh RUN [IMAGES]"),
        (["nowhere"], "nowhere: no run directory. Train one with bin/train."),
        (["nowhere", "ten"], "IMAGES=ten: a number needed."),
    ],
)
def test_wrong_arguments_are_one_line(tools, arguments, message):
    done = run_script(*arguments, path=str(tools))
    assert (done.returncode, done.stderr) == (2, f"smoke.sh: {message}\n")


def test_a_daemon_that_does_not_answer_is_one_line(tools, tmp_path):
    (tmp_path / "config.json").touch()
    (tools / "docker").write_text("#!/bin/sh\nexit 1\n")
    (tools / "docker").chmod(0o755)
    done = run_script(tmp_path, path=str(tools))
    assert done.returncode == 2
    assert "its daemon does not answer" in done.stderr
