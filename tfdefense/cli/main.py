"""`tfdefense COMMAND`: run a command and print each expected error as one line."""

import importlib
import os
import sys

from tfdefense.cli.text_encoding import use_utf8
from tfdefense.errors import PreemptedError, UserError, WorkFailedError, unknown_name

COMMANDS = ("train", "attack", "evaluate", "certify", "export", "purify", "reproduce")
_INTERRUPTED = 130
_PREEMPTED = 143


def main(arguments: list[str] | None = None) -> int:
    """Run one command.

    Returns:
      The exit status: 0, 1 (failed), 2 (wrong input), 130 (interrupted) or 143 (SIGTERM).
    """
    if arguments is None:
        use_utf8()
        arguments = sys.argv[1:]
    command, rest = (arguments[0], arguments[1:]) if arguments else ("--help", [])
    if command in ("--help", "-h", "help"):
        print(f"tfdefense COMMAND [FLAGS], where COMMAND is one of: {', '.join(COMMANDS)}.")
        print("tfdefense COMMAND --help lists the flags of a command.")
        return 0

    try:
        if command not in COMMANDS:
            raise unknown_name("command", command, COMMANDS)
        _import_tensorflow_quietly()
        module = importlib.import_module(f"tfdefense.cli.{command}")
        if any(word in ("--help", "-h", "-help") for word in rest):
            print(module.command_flags().help())
            return 0
        module.run(module.command_flags().parse(rest))
        return 0
    except UserError as error:
        return _fail(error, 2)
    except WorkFailedError as error:
        return _fail(error, 1)
    except PreemptedError as error:
        return _fail(error, _PREEMPTED)
    except OSError as error:  # Such as a full disk, where a command does not expect it.
        return _fail(error, 1)
    except KeyboardInterrupt:
        return _fail(
            "interrupted. Repeat the command to resume from the last checkpoint.", _INTERRUPTED
        )


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


def _fail(reason: object, status: int) -> int:
    print(f"tfdefense: {' '.join(str(reason).split())}", file=sys.stderr)
    return status


if __name__ == "__main__":
    sys.exit(main())
