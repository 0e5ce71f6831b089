"""Registry that maps names on the command line to code, which is imported on first use."""

import importlib
import inspect
from collections.abc import Mapping
from typing import Any

from tfdefense.errors import unknown_name


class Registry:
    """Map from a name to `"module:attribute"`. A new entry is one line.

    Args:
      kind: the thing that the names stand for ("attack", "defense"), for error messages.
      entries: name -> `"package.module:attribute"`.
    """

    def __init__(self, kind: str, entries: Mapping[str, str]) -> None:
        self.kind = kind
        self.entries = dict(entries)

    def names(self) -> list[str]:
        """Return all names in alphabetical order."""
        return sorted(self.entries)

    def check(self, name: str) -> str:
        """Return `name` if it is registered.

        Raises:
          UserError: it is not registered; the message suggests the most similar name.
        """
        if name not in self.entries:
            raise unknown_name(self.kind, name, self.entries)
        return name

    def get(self, name: str) -> Any:
        """Import the entry of `name` and return it.

        Raises:
          UserError: the name is not registered.
        """
        module, attribute = self.entries[self.check(name)].split(":")
        return getattr(importlib.import_module(module), attribute)

    def get_attribute(self, attribute: str) -> Any:
        """Import the entry with this name in Python and return it; for `__getattr__` of a package.

        Raises:
          AttributeError: no entry has this name.
        """
        for name, target in self.entries.items():
            if target.endswith(f":{attribute}"):
                return self.get(name)
        raise AttributeError(f"no {self.kind} has the name {attribute!r} in Python")

    def summary(self, name: str) -> str:
        """Return a description of an entry in one line, without a final full stop.

        It is the entry's attribute `summary`, or the first paragraph of its docstring.
        """
        target = self.get(name)
        # `vars`, because a class must not inherit the summary of its base class.
        text = vars(target).get("summary") or inspect.getdoc(target) or ""
        return text.split("\n\n")[0].replace("\n", " ").rstrip(".")
