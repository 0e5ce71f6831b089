"""What a person is told when something that she gave cannot be used."""

import difflib
from collections.abc import Iterable

_NAMES_SHOWN = 30


class UserError(ValueError):
    """A mistake in what was given: one line that names it, what was given and what is allowed.

    The command line prints the line alone and leaves with exit status 2; Python callers get an
    ordinary `ValueError`.
    """


class Locked(UserError):
    """Another process works in the directory that was named."""


def unknown_name(kind: str, given: str, allowed: Iterable[str]) -> UserError:
    """The error for a name that no registry knows, with the nearest one that it does know."""
    allowed = sorted(allowed)
    nearest = difflib.get_close_matches(given, allowed, n=1, cutoff=0.4)
    hint = f" Did you mean {nearest[0]!r}?" if nearest else ""
    many = len(allowed) > _NAMES_SHOWN
    known = f"{len(allowed)} are known" if many else f"Known: {', '.join(allowed)}"
    return UserError(f"unknown {kind} {given!r}.{hint} {known}.")


def require(condition: bool, message: str) -> None:
    """Raises `UserError(message)` unless `condition` holds."""
    if not condition:
        raise UserError(message)


def reason_of(error: Exception | str) -> str:
    """What TensorFlow or the system says, without where in the graph, in which file and by which operation."""
    said = getattr(error, "strerror", None) or str(error)
    where = ("Graph execution error", "Detected at", "File ", "<stack traces")
    lines = [line.strip() for line in said.splitlines()]
    found = next((line for line in lines if line and not line.startswith(where)), "")
    return found.split("; ")[-1].split(" [Op:")[0].split("}} ")[-1] or type(error).__name__


class WorkFailed(RuntimeError):
    """Work that began well and could not be finished: one line, exit status 1."""


class Preempted(RuntimeError):
    """Work that was asked to stop (SIGTERM), and can be gone on with: one line, exit status 143."""
