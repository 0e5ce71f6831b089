"""Defences: one defence a file, with its training step; `core` has what they share.

A new defence is one file here and one line in `registry.py`.
"""

from collections.abc import Sequence
from typing import Any

from tfdefense.defenses.core.composition import Composition
from tfdefense.defenses.core.defense import Defense
from tfdefense.defenses.core.named_composition import make_composition_class
from tfdefense.defenses.registry import DEFENSES


def get_defense_class(name: str) -> type[Defense]:
    """Return the class of a registered defence, or of several in sequence, "a+b".

    Raises:
      UserError: an unknown name, or defences that cannot be combined in this order.
    """
    return make_composition_class(name) if "+" in name else DEFENSES.get(name)


def compose(defenses: Sequence[Defense]) -> Composition:
    """Return one defence that applies several, already trained defences in order.

    Raises:
      UserError: the defences cannot be combined in this order.
    """
    return Composition(defenses)


def __getattr__(name: str) -> Any:
    """Import a registered class on first use, as in `tfdefense.defenses.APEGANPlusPlus`."""
    return DEFENSES.get_attribute(name)
