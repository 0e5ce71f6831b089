"""Exceptions with one-line messages for users, and helpers that raise them."""

import difflib
import re
from collections.abc import Iterable

_NAMES_SHOWN = 30
_CHARACTERS_SHOWN = 80
_AUTOGRAPH = "in user code:"
# Lines of messages that say where an error is, and not why.
_PLACES = (
    "Graph execution error",
    "Detected at",
    "File ",
    "<stack traces",
    "Exception encountered when calling",
)
_COLOURS = re.compile(r"\x1b\[\d+m")
_KIND = re.compile(r"^\w+(?:Error|Exception): ")
_PATH = re.compile(r"^(?:\S+; )+")
_NODES = re.compile(r"^(?:\{\{\w+ [^}]*\}\} )+")


class UserError(ValueError):
    """Invalid input: the message names the input, the given value and the allowed values.

    The command line prints the message in one line and exits with status 2. In Python it is an
    ordinary `ValueError`.
    """


class DirectoryLockedError(UserError):
    """Attempt to use a directory that another process is using."""


class WorkFailedError(RuntimeError):
    """Failure after valid input, such as a full disk or a loss that is not finite.

    The command line prints the message in one line and exits with status 1.
    """


class PreemptedError(RuntimeError):
    """Stop on request (SIGTERM) before the work is finished.

    The command line prints the message in one line and exits with status 143.
    """


def unknown_name(kind: str, given: str, allowed: Iterable[str]) -> UserError:
    """Return the error for a name that is not allowed; it suggests the most similar allowed name.

    Args:
      kind: the thing that the name stands for, such as "attack" or "--strategy".
      given: the unknown name.
      allowed: all known names. Up to 30 are listed in the message; more are only counted.
    """
    allowed = sorted(allowed)
    # Without a limit, the time to compare grows with the square of the length.
    nearest = difflib.get_close_matches(given[:_CHARACTERS_SHOWN], allowed, n=1, cutoff=0.4)
    hint = f" Did you mean {nearest[0]!r}?" if nearest else ""
    many = len(allowed) > _NAMES_SHOWN
    known = f"{len(allowed)} are known" if many else f"Known: {', '.join(allowed)}"
    return UserError(f"unknown {kind} {cut_text(given)!r}.{hint} {known}.")


def cut_text(text: str) -> str:
    """Return a text, such as a path, that is cut if it has more than 80 characters."""
    return text if len(text) <= _CHARACTERS_SHOWN else f"{text[:_CHARACTERS_SHOWN]} ..."


def require(condition: object, message: str) -> None:
    """Raise `UserError(message)` unless `condition` is true."""
    if not condition:
        raise UserError(message)


def short_reason(error: Exception | str) -> str:
    """Return the reason for an error in one line.

    Messages of TensorFlow and Keras lose the parts that name the graph, the source file, the
    operation and the layer.
    """
    message = _COLOURS.sub("", getattr(error, "strerror", None) or str(error))
    if message.startswith(_AUTOGRAPH):  # The frames of the user's code come first.
        message = message.split("\n\n", 2)[-1]
    lines = [_KIND.sub("", line.strip()) for line in message.splitlines()]
    reason = next((line for line in lines if line and not line.startswith(_PLACES)), "")
    reason = _PATH.sub("", _NODES.sub("", reason.split(" [Op:")[0]))
    return reason or type(error).__name__
