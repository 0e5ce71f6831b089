"""Parameters of attacks of other libraries as text: `max_iter=20:norm=inf`.

A value is a number, `True`, `False`, `None`, or a word, as Python writes it. No code is evaluated.
"""

import ast
import re
from collections.abc import Mapping

from tfdefense.errors import UserError, require

Value = bool | int | float | str | None

_WORD = re.compile(r"[A-Za-z_][\w.+-]*")
_CONSTANTS: Mapping[str, Value] = {"true": True, "false": False, "none": None}


def parse_parameters(text: str, flag: str) -> dict[str, Value]:
    """Return the parameters in `key=value:key=value`.

    Args:
      text: the parameters; "" for none.
      flag: the attack as the user gave it, for error messages.

    Raises:
      UserError: a part is not `key=value`, a key is given twice, or a value is no number and no
        word.
    """
    found: dict[str, Value] = {}
    for part in text.split(":") if text else []:
        key, equals, value = part.partition("=")
        require(
            bool(equals) and key.isidentifier(),
            f"--attacks={flag}: {part!r} given, NAME=VALUE needed after each colon.",
        )
        require(key not in found, f"--attacks={flag}: {key} given twice.")
        found[key] = _parse_value(value, f"--attacks={flag}: {key}")
    return found


def format_parameters(values: Mapping[str, Value]) -> str:
    """Return the text that `parse_parameters` reads."""
    return ":".join(f"{key}={value}" for key, value in values.items())


def _parse_value(text: str, name: str) -> Value:
    if text.lower() in _CONSTANTS:
        return _CONSTANTS[text.lower()]
    try:
        value = ast.literal_eval(text)
    except (ValueError, SyntaxError, MemoryError, RecursionError):
        value = text
    if isinstance(value, str):
        value = value.strip()
        require(
            bool(_WORD.fullmatch(value)),
            f"{name}={text}: a number, True, False, None or a word needed.",
        )
        return value
    if isinstance(value, bool | int | float):
        return value
    raise UserError(f"{name}={text}: one number, True, False, None or a word needed.")
