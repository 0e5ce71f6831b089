"""Budgets: how many images, epochs and options a paper's grid gets, read from `budgets.toml`."""

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
    """Rules that say how much of a grid is computed.

    Attributes:
      name: its name in `budgets.toml`.
      about: its purpose, in one line.
      rules: tables of conditions and values; a value holds where all conditions are met, and later
        rules win.
      dataset: replaces every dataset of the paper; None keeps them.
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
        """Return the value `name` for registered names; None if no rule gives one."""
        given = {"dataset": dataset, "classifier": classifier, "defense": defense, "attack": attack}
        found = None
        for rule in self.rules:
            conditions = {key: rule[key] for key in _CONDITIONS if key in rule}
            if name in rule and all(
                given[key] in _as_list(allowed) for key, allowed in conditions.items()
            ):
                found = rule[name]
        return found


@functools.cache
def load_budget(name: str) -> Budget:
    """Return the budget `name`; raise `UserError` if there is none."""
    budgets = tomllib.loads(_FILE.read_text(encoding="utf-8"))
    if name not in budgets:
        raise unknown_name("--budget", name, budgets)
    return Budget(name, **budgets[name])


def budget_names() -> list[str]:
    """Return the names of all budgets."""
    return list(tomllib.loads(_FILE.read_text(encoding="utf-8")))


def _as_list(value: str | list[str]) -> list[str]:
    return [value] if isinstance(value, str) else value
