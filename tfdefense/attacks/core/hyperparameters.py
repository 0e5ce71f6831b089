"""Hyperparameters of all registered attacks, with the descriptions in their docstrings."""

import dataclasses
from typing import Any

import docstring_parser
import numpy as np
from docstring_parser import DocstringStyle

from tfdefense.attacks.core import norms
from tfdefense.attacks.core.attack import Attack
from tfdefense.attacks.registry import ATTACKS
from tfdefense.errors import require


@dataclasses.dataclass(frozen=True)
class Hyperparameter:
    """Hyperparameter of one or several attacks.

    Attributes:
      name: name of the dataclass field and of the flag.
      annotation: its type.
      help: description from the docstring of the first attack that has it.
      defaults: attack -> default.
    """

    name: str
    annotation: Any
    help: str
    defaults: dict[str, Any]


def list_hyperparameters() -> list[Hyperparameter]:
    """Return the hyperparameters of all registered attacks, in the order of their first mention."""
    found: dict[str, Hyperparameter] = {}
    for attack in ATTACKS.names():
        kind = ATTACKS.get(attack)
        for field in dataclasses.fields(kind):
            if field.name not in found:
                text = _describe(kind, field.name)
                found[field.name] = Hyperparameter(field.name, field.type, text, {})
            found[field.name].defaults[attack] = field.default
    return list(found.values())


def hyperparameter_values(attack: Attack) -> dict[str, Any]:
    """Return the hyperparameters of an attack by name, as values that JSON can hold."""
    return {
        field.name: _plain_value(getattr(attack, field.name))
        for field in dataclasses.fields(attack)
    }


def _plain_value(value: Any) -> Any:
    """Return a hyperparameter; an attack becomes its name and its hyperparameters.

    Raises:
      UserError: a radius for each image, which is not stored.
    """
    if isinstance(value, Attack):
        return {"attack": value.name, **hyperparameter_values(value)}
    require(
        not norms.has_radius_per_image(value),
        "epsilon: one for each image given, one number needed to store adversarial images.",
    )
    if isinstance(value, np.generic):
        return value.item()
    return [_plain_value(each) for each in value] if isinstance(value, list | tuple) else value


def _describe(kind: type, field: str) -> str:
    """Return the description of an attribute in the docstring of a class or of its nearest base."""
    for cls in kind.__mro__:
        docstring = docstring_parser.parse(cls.__doc__ or "", style=DocstringStyle.GOOGLE)
        for entry in docstring.params:
            if field in entry.arg_name.split(", "):
                return " ".join((entry.description or "").split())
    return ""
