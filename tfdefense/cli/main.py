"""`tfdefense COMMAND`: run a command and print each expected error as one line."""

import contextlib
import errno
import importlib
import os
import sys
from pathlib import Path

from tfdefense.cli.tensorflow_stand_in import TensorFlowNeededError, tensorflow_stand_in
from tfdefense.cli.terminal import safe_streams
from tfdefense.cli.text_encoding import use_utf8
from tfdefense.errors import (
    PreemptedError,
    UserError,
    WorkFailedError,
    cut_text,
    short_reason,
    unknown_name,
)
from tfdefense.utils.child_trial import start_trial_server
from tfdefense.utils.huge_pages import use_huge_pages
from tfdefense.utils.trust import trust_model_files
from tfdefense.utils.visible_text import visible_line

COMMANDS = ("train", "attack", "evaluate", "certify", "export", "purify", "reproduce")
_INTERRUPTED = 130
_LONGEST_REASON = 300
_LONGEST_LINE = 20_000  # 100 damaged files, with their reasons.
_PREEMPTED = 143
# A path that is too long, a chain of links that never ends, or one that this user may not use.
_WRONG_PATH = (errno.ENAMETOOLONG, errno.ELOOP, errno.EACCES, errno.EPERM)


def start() -> int:
    """Run the command that this process was started for; return its exit status, as `main` does."""
    use_huge_pages()
    return main()


def main(arguments: list[str] | None = None) -> int:
    """Run one command.

    Returns:
      The exit status: 0, 1 (failed), 2 (wrong input), 130 (interrupted) or 143 (SIGTERM).
    """
    if arguments is None:
        use_utf8()
        arguments = sys.argv[1:]
    closed = [name for name in ("stdout", "stderr") if getattr(sys, name) is None]
    if closed:
        return _refuse_closed(closed)
    with safe_streams():
        return _run_command(arguments)


def _run_command(arguments: list[str]) -> int:
    command, rest = (arguments[0], arguments[1:]) if arguments else ("--help", [])
    try:
        if command in ("--help", "-h", "help"):
            print(f"tfdefense COMMAND [FLAGS], where COMMAND is one of: {', '.join(COMMANDS)}.")
            print("tfdefense COMMAND --help lists the flags of a command.")
        else:
            _run_module(command, rest)
        sys.stdout.flush()
        return 0
    except UserError as error:
        return _fail(error, 2)
    except WorkFailedError as error:
        return _fail(error, 1)
    except PreemptedError as error:
        return _fail(error, _PREEMPTED)
    except BrokenPipeError:  # The reader of standard output has ended, such as `head`.
        _redirect_to_nowhere(1)
        return _fail("standard output was closed before the end.", 1)
    except MemoryError as error:
        return _fail(f"out of memory ({cut_text(str(error)) or 'no more is free'}).", 1)
    except OSError as error:  # Such as a full disk, where a command does not expect it.
        return _fail(_describe(error), 2 if error.errno in _WRONG_PATH else 1)
    except Exception as error:
        if not _is_from_tensorflow(error):
            raise
        return _fail(
            f"TensorFlow fails: {short_reason(error)[:_LONGEST_REASON]}. A classifier or model that was"
            " given may fail on some images.",
            1,
        )
    except KeyboardInterrupt as interruption:
        default = "interrupted. Repeat the command to resume."
        return _fail(str(interruption) or default, _INTERRUPTED)


def _run_module(command: str, flags: list[str]) -> None:
    """Run the module of a command, or print its help."""
    if command not in COMMANDS:
        raise unknown_name("command", command, COMMANDS)
    if "tensorflow" not in sys.modules:
        if _runs_without_tensorflow(command, flags):
            return
        _start_trials_early(flags)
        _import_tensorflow_quietly()
    _parse_and_run(command, flags)


def _runs_without_tensorflow(command: str, flags: list[str]) -> bool:
    """Run a command up to its first use of TensorFlow; return whether it came to its end.

    Raises:
      UserError, WorkFailedError, OSError: from the command.
    """
    try:
        with tensorflow_stand_in():
            _parse_and_run(command, flags)
    except (UserError, WorkFailedError, PreemptedError, OSError):
        raise
    except (TensorFlowNeededError, Exception):
        return False  # What fails with a stand-in may do without it.
    return True


def _parse_and_run(command: str, flags: list[str]) -> None:
    module = importlib.import_module(f"tfdefense.cli.{command}")
    if any(word in ("--help", "-h", "-help") for word in flags):
        print(module.command_flags().help())
        return
    given = module.command_flags().parse(flags)
    with trust_model_files(trusted=given.get("unsafe_load", False)):
        module.run(given)


def _import_tensorflow_quietly() -> None:
    """Import TensorFlow without the messages of its C++ libraries, which no setting turns off.

    Errors of Python are raised as usual.
    """
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    stderr = os.dup(2)
    with open(os.devnull, "w", encoding="utf-8") as nowhere:
        os.dup2(nowhere.fileno(), 2)
        try:
            import tensorflow  # noqa: F401
        finally:
            os.dup2(stderr, 2)
            os.close(stderr)


def _start_trials_early(words: list[str]) -> None:
    """Start the process that tries model files while this one still imports TensorFlow."""
    values = [word.partition("=")[2] or word for word in words]
    with contextlib.suppress(OSError, ValueError):
        if any(_holds_model(Path(value)) for value in values) and "--unsafe_load" not in words:
            start_trial_server()


def _holds_model(path: Path) -> bool:
    names = ("saved_model.pb", "classifier.keras")
    return (path.suffix in (".keras", ".h5", ".hdf5") and path.is_file()) or any(
        (path / name).is_file() for name in names
    )


def _refuse_closed(names: list[str]) -> int:
    """Say, on the stream that is open, that the other is closed."""
    words = {"stdout": "standard output", "stderr": "standard error"}
    closed = " and ".join(words[name] for name in names)
    stream = sys.stderr or sys.stdout
    if stream is not None:
        print(f"tfdefense: {closed}: closed. Send it to a file, such as /dev/null.", file=stream)
    return 2


def _is_from_tensorflow(error: Exception) -> bool:
    """Return whether an operation of TensorFlow has failed, such as one of a model from outside."""
    import tensorflow as tf

    return isinstance(error, tf.errors.OpError)


def _describe(error: OSError) -> str:
    """Return the reason and the file of an error; a long name is cut."""
    name = cut_text(str(error.filename or ""))
    return f"{name}: {error.strerror}." if name and error.strerror else str(error)


def _fail(reason: object, status: int) -> int:
    line = visible_line(reason)
    line = line if len(line) <= _LONGEST_LINE else f"{line[:_LONGEST_LINE]} ..."
    try:
        print(f"tfdefense: {line}", file=sys.stderr, flush=True)
    except BrokenPipeError:  # Both streams go to a reader that has ended.
        _redirect_to_nowhere(2)
    return status


def _redirect_to_nowhere(descriptor: int) -> None:
    """Send what Python still writes to a broken pipe, at the latest when it exits, to nowhere."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), descriptor)


if __name__ == "__main__":
    sys.exit(start())
