"""Surrogate gradients: the choice between the gradients that a layer or a function declares.

A step that is not differentiable, or whose gradient is zero almost everywhere, needs a surrogate
gradient (Athalye, Carlini, Wagner, "Obfuscated Gradients Give a False Sense of Security", ICML
2018, section 4.1). An attack through one surrogate shows only what this one finds. A step may
therefore declare several, and attacks try all of them.

A step calls `choose_surrogate` when it is called itself, and uses the gradient of that name.
"""

import contextlib
from collections.abc import Iterator
from contextvars import ContextVar
from typing import NamedTuple


class DeclaredSurrogates(NamedTuple):
    """Surrogate gradients of one step.

    Attributes:
      names: from the weakest to the smoothest.
      default: the one that is used if none of them is requested.
    """

    names: tuple[str, ...]
    default: str


_requested: ContextVar[tuple[str, ...]] = ContextVar("requested_surrogates", default=())
_recorded: ContextVar[list[DeclaredSurrogates] | None] = ContextVar(
    "recorded_surrogates", default=None
)


@contextlib.contextmanager
def use_surrogates(*names: str) -> Iterator[None]:
    """Request surrogate gradients in this context.

    With one name, every step that declares it uses it, and the others use their default. With
    several names, attacks try them in turn, and a model that is called directly uses its defaults.

    Args:
      *names: names that `find_surrogates` returns. Without names, attacks try all.
    """
    token = _requested.set(names)
    try:
        yield
    finally:
        _requested.reset(token)


def requested_surrogates() -> tuple[str, ...]:
    """Return the names of the innermost `use_surrogates`, or () if there is none."""
    return _requested.get()


def choose_surrogate(declared: DeclaredSurrogates) -> str:
    """Return the name of the gradient that a step must use now.

    The step calls this when it is called, not when its gradient is computed: the context of the
    request has ended by then.
    """
    recorded, requested = _recorded.get(), _requested.get()
    if recorded is not None and not requested:
        recorded.append(declared)
    is_declared = len(requested) == 1 and requested[0] in declared.names
    return requested[0] if is_declared else declared.default


@contextlib.contextmanager
def record_surrogates() -> Iterator[list[DeclaredSurrogates]]:
    """Record the steps that call `choose_surrogate` in this context.

    A step inside a nested `use_surrogates` is not recorded, because it has no choice left.

    Yields:
      A list that grows with each of these calls.
    """
    steps: list[DeclaredSurrogates] = []
    token = _recorded.set(steps)
    try:
        with use_surrogates():
            yield steps
    finally:
        _recorded.reset(token)
