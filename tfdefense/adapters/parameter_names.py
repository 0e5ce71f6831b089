"""Names, types and defaults of the parameters of a library's attack, from its signature."""

import difflib
import inspect
from collections.abc import Callable, Collection, Mapping
from typing import Any

from tfdefense.errors import UserError, require

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


def check_parameter_types(
    given: Mapping[str, Any], function: Callable[..., Any], attack: str
) -> None:
    """Raise `UserError` for a value that is not of the type of its parameter.

    The type is the annotation, or that of the default without an annotation. Other types than
    numbers and True or False are not checked. A number of steps, images or the like, whose default
    is 1 or more, must be 1 or more.

    Args:
      given: parameter name -> value; the parameters exist.
      function: a function, or a class for its constructor.
      attack: name of the attack, for error messages.
    """
    parameters = inspect.signature(function).parameters
    for name, value in given.items():
        parameter = parameters[name]
        is_flag, is_number = isinstance(value, bool), isinstance(value, int | float)
        allowed, needed = _expected_values(parameter)
        if allowed is bool:
            is_right = is_flag
        elif allowed is int:
            is_count = isinstance(parameter.default, int) and parameter.default >= 1
            needed += " of 1 or more" if is_count else ""
            is_right = isinstance(value, int) and not is_flag and (value >= 1 or not is_count)
        else:
            is_right = allowed is None or (is_number and not is_flag)
        require(is_right, f"--attacks={attack}: {name}={value}, {needed} needed.")


def _expected_values(parameter: inspect.Parameter) -> tuple[type | None, str]:
    """Return bool, int, float or None for anything, and the same in words."""
    annotation = parameter.annotation
    if annotation is inspect.Parameter.empty:
        annotation = type(parameter.default)
    if annotation in (bool, "bool"):
        return bool, "True or False"
    if annotation in (int, "int"):
        return int, "a whole number"
    if annotation in (float, "float"):
        return float, "a number"
    return None, "anything"
