"""Names on the command line and the code behind them, imported only when asked for."""

import importlib
import inspect
from collections.abc import Mapping
from typing import Any

from tfdefense.errors import unknown_name


class Registry:
    """Maps a name to `"module:attribute"`; a new entry is one line.

    Args:
      kind: what the names stand for ("attack", "defense"), for error messages.
      entries: name -> `"package.module:attribute"`.
    """

    def __init__(self, kind: str, entries: Mapping[str, str]) -> None:
        self.kind = kind
        self.entries = dict(entries)

    def names(self) -> list[str]:
        return sorted(self.entries)

    def check(self, name: str) -> str:
        """Returns `name`; raises `UserError`, with the nearest match, if it is not registered."""
        if name not in self.entries:
            raise unknown_name(self.kind, name, self.entries)
        return name

    def get(self, name: str) -> Any:
        """Imports and returns what `name` stands for."""
        module, attribute = self.entries[self.check(name)].split(":")
        return getattr(importlib.import_module(module), attribute)

    def summary(self, name: str) -> str:
        """What `name` stands for, in one line: its own `summary`, or else the head of its docstring."""
        target = self.get(name)
        # Its own: a class does not inherit what its parent is.
        text = vars(target).get("summary") or inspect.getdoc(target) or ""
        return text.split("\n\n")[0].replace("\n", " ").rstrip(".")
