"""Names and defaults of the parameters of a library's attack, from its signature."""

import difflib
import inspect
from collections.abc import Callable, Collection, Mapping
from typing import Any

from tfdefense.errors import UserError

_VARIADIC = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)


def parameter_defaults(function: Callable[..., Any], reserved: Collection[str]) -> dict[str, Any]:
    """Return parameter name -> default, `inspect.Parameter.empty` without one.

    Args:
      function: a function, or a class for its constructor.
      reserved: parameters that the adapter sets itself, left out.
    """
    return {
        parameter.name: parameter.default
        for parameter in inspect.signature(function).parameters.values()
        if parameter.kind not in _VARIADIC and parameter.name not in reserved
    }


def check_parameter_names(given: Mapping[str, Any], known: Collection[str], attack: str) -> None:
    """Raise `UserError` for a parameter that the attack does not have; it suggests the nearest.

    Args:
      given: parameter name -> value.
      known: names of all parameters that a user may give.
      attack: name of the attack, for error messages.
    """
    for name in given:
        if name not in known:
            nearest = difflib.get_close_matches(name, known, n=1, cutoff=0.6)
            hint = f" Did you mean {nearest[0]!r}?" if nearest else ""
            has = ", ".join(known) if known else "no parameters"
            raise UserError(f"--attacks={attack}: has no {name!r}.{hint} It has: {has}.")
