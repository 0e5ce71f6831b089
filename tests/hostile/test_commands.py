"""Words, numbers, streams and variables of the environment that no command expects."""

import io
import os
import subprocess
import sys

import pytest
import tensorflow as tf

from tfdefense.cli import main as main_module
from tfdefense.cli.flags import CommandFlags, parse_numbers
from tfdefense.cli.main import main
from tfdefense.cli.terminal import SafeStream
from tfdefense.errors import UserError
from tfdefense.papers import leases
from tfdefense.serving.core.model_directory import list_versions
from tfdefense.training.distribute.strategies import _parse_tf_config
from tfdefense.utils.visible_text import visible_line, visible_text


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain", "plain"),
        ("größer als ε 日本", "größer als ε 日本"),
        ("\x1b[31mred\x07", "\\x1b[31mred\\x07"),
        ("a\u202eb\u2066", "a\\u202eb\\u2066"),
        ("a\u2028b\x85", "a\\u2028b\\x85"),
        ("name\udcff", "name\\udcff"),
        ("\u0645\u200c\u062e", "\u0645\u200c\u062e"),
    ],
)
def test_hidden_characters_are_escapes(text, shown):
    assert visible_text(text) == shown


def test_a_line_stays_one_line():
    assert visible_line("a\nb\r\tc\u2028d") == "a b c d"


def test_a_terminal_gets_only_the_sequences_of_the_commands():
    stream = io.StringIO()
    safe = SafeStream(stream)
    print("\033[31m✗ name \033[2J\033[0m", file=safe)
    safe.write("\r 50% done \r\033[A")
    safe.write("\033[A")
    written = stream.getvalue()
    assert written.startswith("\033[31m✗ name \\x1b[2J\033[0m\n\r 50% done \\x0d\\x1b[A\033[A")


class _BrokenPipe(io.StringIO):
    """A stream whose reader has ended."""

    def flush(self) -> None:
        raise BrokenPipeError


@pytest.mark.parametrize("both", [False, True])
def test_a_reader_that_has_ended_is_one_line(both, monkeypatch):
    nowhere, stderr = [], _BrokenPipe() if both else io.StringIO()
    monkeypatch.setattr(main_module, "_redirect_to_nowhere", nowhere.append)
    monkeypatch.setattr(sys, "stdout", _BrokenPipe())
    monkeypatch.setattr(sys, "stderr", stderr)
    assert main(["--help"]) == 1
    assert nowhere == [1, 2][: 1 + both]
    assert stderr.getvalue() == "tfdefense: standard output was closed before the end.\n"


def test_a_closed_pipe_leaves_no_traceback(tmp_path):
    readable, writable = os.pipe()
    os.close(readable)
    result = subprocess.run(
        [sys.executable, "-m", "tfdefense.cli.main", "--help"],
        stdout=writable,
        stderr=subprocess.PIPE,
        text=True,
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": os.getcwd()},
    )
    os.close(writable)
    assert result.returncode == 1
    assert result.stderr == "tfdefense: standard output was closed before the end.\n"


@pytest.mark.parametrize("closed", ["stdout", "stderr"])
def test_a_closed_stream_is_one_line_with_status_2(closed, tmp_path):
    number = {"stdout": 1, "stderr": 2}[closed]
    command = [sys.executable, "-m", "tfdefense.cli.main", "attack", "--attack=fgsm"]
    result = subprocess.run(
        ["sh", "-c", f'exec "$@" {number}>&-', "sh", *command],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": os.getcwd()},
    )
    assert result.returncode == 2
    lines = (result.stdout + result.stderr).splitlines()
    assert len(lines) == 1
    assert "closed. Send it to a file" in lines[0]


@pytest.mark.parametrize("word", ["\uff13", "²", "٣", "9" * 30, "9" * 5000])
def test_numbers_have_ascii_digits_and_fit_into_64_bits(word):
    flags = CommandFlags("bin/x", "does nothing.")
    flags.add("how", "count", int, "A number.")
    with pytest.raises(UserError, match="--count="):
        flags.parse([f"--count={word}"])


def test_lists_of_numbers_have_ascii_digits():
    assert parse_numbers(["1", "2.5"], "x") == (1.0, 2.5)
    with pytest.raises(UserError, match="numbers separated by commas"):
        parse_numbers(["\uff13"], "x")


def test_versions_are_those_that_servers_take(tmp_path):
    for name in ("1", "12", "٣", "²", "007", str(2**63 - 1), str(2**63), "9" * 200):
        (tmp_path / name).mkdir()
    assert list_versions(tmp_path) == [1, 12, 2**63 - 1]


@pytest.mark.parametrize(
    "text",
    [
        "{",
        "[" * 100_000,
        '{"cluster": 1, "task": {}}',
        '{"cluster": {"worker": "host:1"}, "task": {"type": "worker", "index": 0}}',
        '{"cluster": {"worker": [1]}, "task": {"type": "worker", "index": 0}}',
        '{"cluster": {"worker": ["host"]}, "task": {"type": "worker", "index": 0}}',
        '{"cluster": {"worker": ["\\u001b[31m:1"]}, "task": {"type": "worker", "index": 0}}',
        '{"cluster": {"worker": ["host:99999"]}, "task": {"type": "worker", "index": 0}}',
        '{"cluster": {"worker": ["a:1", "a:1"]}, "task": {"type": "worker", "index": 0}}',
        '{"cluster": {"worker": ["a:1"]}, "task": {"type": [], "index": 0}}',
        '{"cluster": {"worker": ["a:1"]}, "task": {"type": "worker", "index": 1e300}}',
        '{"cluster": {"worker": ["a:1"]}, "task": 7}',
    ],
)
def test_a_malformed_tf_config_is_one_line(text):
    with pytest.raises(UserError, match=r"TF_CONFIG") as caught:
        _parse_tf_config(text)
    assert len(str(caught.value)) < 500


def test_a_lease_that_is_dated_in_the_future_is_dead(tmp_path):
    file = tmp_path / "target.lease"
    file.write_text('{"host": "other", "machine": "other", "process": 1}')
    with leases.lease(tmp_path / "target") as is_leased:
        assert not is_leased
    future = os.stat(file).st_mtime + 10 * leases.DEAD_AFTER_SECONDS
    os.utime(file, (future, future))
    with leases.lease(tmp_path / "target") as is_leased:
        assert is_leased


@pytest.mark.parametrize(
    ("error", "status", "line"),
    [
        (MemoryError("Unable to allocate 1 TiB"), 1, "out of memory (Unable to allocate 1 TiB)."),
        (PermissionError(13, "Permission denied", "/x"), 2, "/x: Permission denied."),
        (UserError("x" * 100_000), 2, "x" * 20_000 + " ..."),
        (
            tf.errors.InvalidArgumentError(None, None, "indices = 1"),
            1,
            "TensorFlow fails: indices = 1. A classifier or model that was given may fail on some"
            " images.",
        ),
    ],
)
def test_errors_that_inputs_can_cause_are_one_line(error, status, line, monkeypatch, capsys):
    def fail(_):
        raise error

    monkeypatch.setattr("tfdefense.cli.attack.run", fail)
    assert main(["attack"]) == status
    assert capsys.readouterr().err == f"tfdefense: {line}\n"
