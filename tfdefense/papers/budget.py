"""How much of a paper's grid is computed: named budgets, from `budgets.toml`."""

import dataclasses
import functools
import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tfdefense.errors import unknown_name

_FILE = Path(__file__).with_name("budgets.toml")
_CONDITIONS = ("dataset", "classifier", "defense", "attack")


@dataclasses.dataclass(frozen=True)
class Budget:
    """One of them.

    Attributes:
      name, about: what it is called and for.
      rules: tables of conditions and of what holds where they are met; later ones win.
      dataset: what takes the place of every dataset of the paper, or None.
    """

    name: str
    about: str
    rules: Sequence[Mapping[str, Any]]
    dataset: str | None = None

    def value(
        self,
        name: str,
        dataset: str,
        classifier: str,
        defense: str | None = None,
        attack: str | None = None,
    ) -> Any:
        """What the rules say of `name` for an artefact of these registered names; None if nothing."""
        known = {"dataset": dataset, "classifier": classifier, "defense": defense, "attack": attack}
        found = None
        for rule in self.rules:
            asked = {key: rule[key] for key in _CONDITIONS if key in rule}
            if name in rule and all(known[key] in _listed(value) for key, value in asked.items()):
                found = rule[name]
        return found


@functools.cache
def load(name: str) -> Budget:
    """A budget by its name; raises `UserError` for one that there is not."""
    budgets = tomllib.loads(_FILE.read_text())
    if name not in budgets:
        raise unknown_name("--budget", name, budgets)
    return Budget(name, **budgets[name])


def names() -> list[str]:
    """The budgets that there are."""
    return list(tomllib.loads(_FILE.read_text()))


def _listed(value: str | list[str]) -> list[str]:
    return [value] if isinstance(value, str) else value
