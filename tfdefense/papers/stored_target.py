"""Base of all targets, and the key that names a target in the store.

A key is a hash of everything that a target depends on, with two exceptions. A dataset enters it by
its name alone; `TargetStore` checks that its images stay the same. Training recipes and default
hyperparameters enter it as `SCHEMA`; a test notices when one of them changes. Then either `SCHEMA`
is raised, or the budget of the stored figures gets the old values as options: see `targets.py`.
"""

import dataclasses
import functools
import json
from abc import ABC, abstractmethod
from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar

from tfdefense.papers.store import TargetStore
from tfdefense.utils.hashing import hash_parts

SCHEMA = 1  # Raise it when a change to a recipe or a default changes figures.


@dataclasses.dataclass(frozen=True)
class StoredTarget(ABC):
    """Something that is made once: a frozen dataclass of everything it depends on.

    Attributes:
      kind: its folder in the store.
      last_file: the file in its directory that is written last; empty for a target that is a file.
    """

    kind: ClassVar[str]
    last_file: ClassVar[str] = ""

    @functools.cached_property
    def key(self) -> str:
        """Hash of the kind and the fields, in which other targets enter by their keys."""
        return hash_parts(
            [json.dumps([SCHEMA, self.kind, self.key_fields()], sort_keys=True).encode()]
        )

    def key_fields(self) -> dict[str, Any]:
        """Return the fields that enter the key, as JSON types."""
        fields = {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}
        return {name: _json_value(value) for name, value in fields.items()}

    def path(self, store: TargetStore) -> Path:
        """Return its file or directory in the store."""
        return store.path / self.kind / f"{self.title.replace(' ', '-')}-{self.key[:12]}"

    def prerequisites(self) -> list["StoredTarget"]:
        """Return the targets that must exist before this one is made."""
        return list(_targets_in([getattr(self, field.name) for field in dataclasses.fields(self)]))

    @property
    @abstractmethod
    def title(self) -> str:
        """Description in a few words."""

    def last_path(self, store: TargetStore) -> Path:
        """Return the file that is written last."""
        return self.path(store) / self.last_file

    def is_done(self, store: TargetStore) -> bool:
        """Return True if the target is complete."""
        return self.last_path(store).is_file()

    @abstractmethod
    def make(self, store: TargetStore) -> None:
        """Make the target; resume what a killed call has left."""


def _json_value(value: Any) -> Any:
    """Return a field as a JSON type: targets become their keys, tuples become lists."""
    if isinstance(value, tuple):
        return [_json_value(each) for each in value]
    return value.key if isinstance(value, StoredTarget) else value


def _targets_in(value: Any) -> Iterator[StoredTarget]:
    if isinstance(value, StoredTarget):
        yield value
    elif isinstance(value, list | tuple):
        for each in value:
            yield from _targets_in(each)
