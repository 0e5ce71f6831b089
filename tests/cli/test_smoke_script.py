"""Errors of `examples/tf_serving/smoke.sh`; tests/soak/smoke_script.py runs it whole."""

import importlib.util
import os
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest

ROOT = Path(__file__).parents[2]
SCRIPT = ROOT / "examples" / "tf_serving" / "smoke.sh"


def run_script(*arguments, path, script=SCRIPT):
    environment = {**os.environ, "PATH": path}
    return subprocess.run(
        [str(script), *map(str, arguments)],
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


def write_program(path, line):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.unlink(missing_ok=True)
    path.write_text(f"#!/bin/sh\n{line}\n")
    path.chmod(0o755)


@pytest.fixture
def copy(tools, tmp_path):
    """A copy of the script whose programs all succeed at once, and its run directory."""
    root = tmp_path / "root"
    script = root / "examples" / "tf_serving" / "smoke.sh"
    script.parent.mkdir(parents=True)
    shutil.copy(SCRIPT, script)
    for name in ("bin/export", "bin/purify", ".venv/bin/python"):
        write_program(root / name, "cat >/dev/null </dev/null")
    write_program(tools / "docker", '[ "$1" != port ] || echo 127.0.0.1:1')
    write_program(tools / "sleep", "")
    (root / "config.json").touch()
    return script


@pytest.mark.parametrize(
    "case",
    [
        ("bin/export", "exit 1", 2, "not exported, see above."),
        ("bin/purify", "exit 1", 2, "127.0.0.1:1: bin/purify gets no complete answer in 10 tries; the"),
        (".venv/bin/python", '[ "$1" != - ]', 2, "its test images cannot be read, see above."),
        (".venv/bin/python", '[ "$1" = - ] || exit 1', 2, "the answers were not compared, see above."),
        (".venv/bin/python", '[ "$1" = - ] || exit 3', 1, "the answers of tensorflow/serving differ"),
        ("../tools/docker", '[ "$1" != run ]', 2, "tensorflow/serving: does not start, see above."),
        ("../tools/docker", "", 2, "tensorflow/serving: its container has no port 8500; the server's"),
        ("bin/export", "", 0, ""),
    ],
)  # fmt: skip
def test_what_failed_is_the_last_line(copy, tools, case):
    program, line, status, message = case
    root = copy.parents[2]
    write_program(root / program, line)
    done = run_script(root, path=str(tools), script=copy)
    assert done.returncode == status
    assert message in (done.stderr.splitlines() or [""])[-1]
    if status:
        assert done.stderr.splitlines()[-1].startswith("smoke.sh: ")


@pytest.fixture(scope="module")
def compare_answers():
    path = SCRIPT.with_name("compare_answers.py")
    spec = importlib.util.spec_from_file_location("compare_answers", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


class Client:
    """Client whose outputs are given."""

    def __init__(self, outputs):
        self.outputs = outputs

    def predict(self, signature, images):
        assert signature == "serving_default"
        return {name: values[images] for name, values in self.outputs.items()}


@pytest.mark.parametrize(
    ("name", "change", "verdict"),
    [
        ("purified", 2e-4, "differs by 2.0e-04"),
        ("probabilities", 2e-4, "differs by 2.0e-04"),
        ("logits", 2e-3, "differs by 2.0e-03, 1.0e-03 is allowed"),
        ("logits", 5e-4, ""),
        ("suspicion", 0.001, ""),
        ("suspicion", 0.03, "differs by 3.0e-02"),
        ("perturbation_norm", np.nan, "differs by nan"),
        ("classes", 1, "of 1 of 70 images differs"),
        ("refused", 1, "of 1 of 70 images differs"),
    ],
)
def test_every_output_is_compared(compare_answers, name, change, verdict):
    zeros = np.zeros(70, np.float32)
    names = ("purified", "probabilities", "suspicion", "perturbation_norm")
    ours = dict.fromkeys(names, zeros) | {
        "logits": zeros + 10,
        "classes": np.zeros(70, np.int64),
        "refused": np.zeros(70, bool),
    }
    theirs = {key: values.copy() for key, values in ours.items()}
    theirs[name][69] = theirs[name][69] + change
    found = [compare_answers.predict(Client(each), np.arange(70)) for each in (ours, theirs)]
    sentences = compare_answers.differences(*found)
    assert len(sentences) == bool(verdict)
    assert all(each.startswith(f"{name} {verdict}") for each in sentences)


def test_a_missing_output_differs(compare_answers):
    assert compare_answers.differences({"a": np.zeros(1)}, {}) == [
        "a is an output of only one of them"
    ]
