"""Defences. A new one is one file here and one line in `DEFENSES`."""

from collections.abc import Sequence
from typing import Any

from tfdefense.defenses.core.composition import Composition, make_composition_class
from tfdefense.defenses.registry import DEFENSES


def get_defense_class(name: str) -> type:
    """The class of the registered defence `name`; of "a+b", that of a and then b.

    Raises:
      UserError: unknown name, or defences that do not go together.
    """
    return make_composition_class(name) if "+" in name else DEFENSES.get(name)


def compose(defenses: Sequence[Any]) -> Any:
    """Defences, each trained already where it learns, as one (a `Composition`) that applies them in order.

    Raises:
      UserError: they do not go together.
    """
    return Composition(defenses)


def __getattr__(name: str) -> Any:
    """`tfdefense.defenses.APEGANPlusPlus` and every other registered class, imported when used."""
    for entry, target in DEFENSES.entries.items():
        if target.endswith(f":{name}"):
            return DEFENSES.get(entry)
    raise AttributeError(f"module 'tfdefense.defenses' has no attribute {name!r}")
