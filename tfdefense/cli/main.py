"""`tfdefense COMMAND`: finds the command, and turns mistakes into one line each."""

import importlib
import os
import sys

from tfdefense.errors import Preempted, UserError, WorkFailed, unknown_name

COMMANDS = ("train", "attack", "evaluate", "certify", "export", "purify", "reproduce")
_INTERRUPTED = 130
_PREEMPTED = 143


def main(arguments: list[str] | None = None) -> int:
    """Runs one command; returns the exit status: 0, 1 (failed), 2 (bad input), 130 (interrupted) or 143 (SIGTERM)."""
    arguments = sys.argv[1:] if arguments is None else arguments
    command, rest = (arguments[0], arguments[1:]) if arguments else ("--help", [])
    if command in ("--help", "-h", "help"):
        print(f"tfdefense COMMAND [FLAGS], where COMMAND is one of: {', '.join(COMMANDS)}.")
        print("tfdefense COMMAND --help tells its flags.")
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
    except WorkFailed as error:
        return _fail(error, 1)
    except Preempted as error:
        return _fail(error, _PREEMPTED)
    except OSError as error:  # A full disk, above all: the commands name what they can foresee.
        return _fail(error, 1)
    except KeyboardInterrupt:
        return _fail(
            "interrupted. The same command goes on from the last checkpoint.", _INTERRUPTED
        )


def _import_tensorflow_quietly() -> None:
    """Keeps from the user what TensorFlow's libraries say of themselves when they are loaded.

    No setting silences it; errors of Python's are raised as ever.
    """
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    stderr = os.dup(2)
    with open(os.devnull, "w") as nowhere:
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
