"""The hyperparameters of all attacks by name, with what their docstrings say of them."""

import dataclasses
import inspect
import re
from typing import Any

from tfdefense.attacks.registry import ATTACKS


@dataclasses.dataclass(frozen=True)
class Hyperparameter:
    """One hyperparameter.

    Attributes:
      name: of the dataclass field, and of the flag.
      annotation: its type.
      help: what the docstring of the first attack that has it says.
      defaults: attack -> default.
    """

    name: str
    annotation: Any
    help: str
    defaults: dict[str, Any]


def list_hyperparameters() -> list[Hyperparameter]:
    """Every hyperparameter that any registered attack has, in the order of their first mention."""
    found: dict[str, Hyperparameter] = {}
    for name in ATTACKS.names():
        attack = ATTACKS.get(name)
        for field in dataclasses.fields(attack):
            option = found.get(field.name)
            if option is None:
                help = _described(attack, field.name)
                option = found[field.name] = Hyperparameter(field.name, field.type, help, {})
            option.defaults[name] = field.default
    return list(found.values())


def _described(attack: type, field: str) -> str:
    """What the docstrings of a class and its bases say of an attribute."""
    for cls in attack.__mro__:
        for line in _attributes(inspect.getdoc(cls) or ""):
            name, _, text = line.partition(": ")
            if field in name.split(", "):
                return text
    return ""


def _attributes(doc: str) -> list[str]:
    """The entries of an "Attributes:" section, each on one line."""
    section = re.search(r"^Attributes:\n((?:  .*\n|\n)*)", doc + "\n", re.MULTILINE)
    text = section.group(1) if section else ""
    return [" ".join(entry.split()) for entry in re.split(r"\n(?=  \S)", "\n" + text) if entry]
