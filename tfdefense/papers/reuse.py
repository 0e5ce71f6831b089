"""Lines on targets that are taken over from a store and a results folder, and on those made again."""

import dataclasses
import functools
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from tfdefense.errors import cut_text
from tfdefense.papers.measurements import PaperCell
from tfdefense.papers.paper import PaperFigure
from tfdefense.papers.recipes import (
    Recipes,
    collect_recipes,
    load_stored_recipes,
    recipe_differences,
)
from tfdefense.papers.records import CellRecords, figure_names
from tfdefense.papers.store import TargetStore
from tfdefense.papers.stored_target import SCHEMA, StoredTarget
from tfdefense.utils.json_types import typed_value
from tfdefense.utils.untrusted_file import read_json_file

# Kind -> singular and plural for readers, and the words for what is made again.
_NOUNS = {
    "classifiers": ("classifier", "classifiers", "trained again"),
    "examples": ("set of examples", "sets of examples", "made again"),
    "defenses": ("defence", "defences", "made again"),
    "cells": ("cell", "cells", "measured again"),
}
_DIFFERENCES_SHOWN = 3
_REASONS_SHOWN = 6
_MANY = 1000  # Number of differences of a recipe that is not recorded.
_CONFIG_FILES = ("config.json", "summary.json")  # Files of a target with the versions of packages.


@dataclasses.dataclass(frozen=True)
class EarlierWork:
    """Targets and cells that earlier calls left in a store and a results folder.

    Attributes:
      cells: all figures of the paper with their cells of today.
      store: the store of the targets.
      records: records of the results folder.
      results_recipes: recipes of the results folder.
      keys: keys of the targets of all budgets, which are not earlier versions of each other.
    """

    cells: Sequence[tuple[PaperFigure, PaperCell]]
    store: TargetStore
    records: CellRecords
    results_recipes: Recipes
    keys: frozenset[str]

    def describe(self, targets: Sequence[StoredTarget]) -> list[str]:
        """Return lines on which targets are taken over, which are made again, and why.

        A target without an earlier version has no line.

        Args:
          targets: targets that a call needs, all of them cells of today or needed by one.
        """
        lines = []
        for kind in dict.fromkeys(target.kind for target in targets):
            same_kind = [target for target in targets if target.kind == kind]
            done = [target for target in same_kind if target.is_done(self.store)]
            if done:
                versions = Counter(self._version(target) for target in done)
                lines.append(f"{_count(len(done), kind)} taken over{_versions_text(versions)}.")
            missing = [target for target in same_kind if not target.is_done(self.store)]
            lines += _reason_lines(Counter(self._reasons(missing)), kind)
        return lines

    @functools.cached_property
    def _today(self) -> Recipes:
        return collect_recipes(cell for _, cell in self.cells)

    @functools.cached_property
    def _recipes(self) -> Recipes:
        return {**self.results_recipes, **load_stored_recipes(self.store), **self._today}

    def _version(self, target: StoredTarget) -> str:
        """Return the version of this package that made a complete target; "" if unknown."""
        if isinstance(target, PaperCell):
            return _version_in(target.record(self.store))
        return _version_in(_read_config(target.path(self.store)))

    def _reasons(self, missing: Sequence[StoredTarget]) -> list[str]:
        """Return why earlier versions of missing targets are not used, one reason per target.

        An earlier version counts for one target only: the one from which it differs least.
        """
        nearest: dict[str, tuple[int, str, str]] = {}
        for target in missing:
            for source, record in self._earlier_versions(target):
                differences, text = self._compare(target, record)
                version = _version_in(record)
                made_by = f"; made by tfdefense {version}" if version else ""
                found = (differences, target.key, f"{text}{made_by}")
                nearest[source] = min(nearest.get(source, found), found)
        reasons: dict[str, tuple[int, str]] = {}
        for differences, key, text in nearest.values():
            reasons[key] = min(reasons.get(key, (differences, text)), (differences, text))
        return [text for _, text in reasons.values()]

    def _earlier_versions(self, target: StoredTarget) -> Iterator[tuple[str, Mapping[str, Any]]]:
        """Yield the place and the record, or else the recipe, of earlier versions of a target."""
        for figure, cell in self.cells:
            record = self.records.by_figure.get(figure_names(figure))
            if cell.key == target.key and record is not None:
                yield f"{figure_names(figure)}", record
        for path in _paths_of_same_title(target.path(self.store)):
            key = _short_key(path)
            if isinstance(target, PaperCell):
                if key == target.key[:12] or key not in self._short_keys:
                    record = _read(path)
                    yield str(path), record if isinstance(record, dict) else {}
            elif key not in self._short_keys and (path / target.last_file).is_file():
                unknown = {"schema": SCHEMA, "depends_on": None}
                yield str(path), {**_read_config(path), **unknown, **self._recipe(key)}

    @functools.cached_property
    def _short_keys(self) -> frozenset[str]:
        return frozenset(key[:12] for key in self.keys)

    def _recipe(self, short_key: str) -> Mapping[str, Any]:
        """Return a recipe by the first digits of its key; {} if it is unknown."""
        return next((self._recipes[key] for key in self._recipes if key[:12] == short_key), {})

    def _compare(self, target: StoredTarget, record: Mapping[str, Any]) -> tuple[int, str]:
        """Return the number of differences of an earlier version, and why it is not used."""
        schema, before = record.get("schema"), record.get("depends_on")
        if not isinstance(schema, int):
            return 0, "damaged record"
        if schema != SCHEMA:
            return 0, f"schema {schema}, this version needs {SCHEMA}"
        if record.get("key") == target.key:
            return 0, "damaged record"
        if not isinstance(before, dict):
            return _MANY, "other recipe, which is not recorded"
        now = self._today[target.key]["depends_on"]
        found = recipe_differences(now, before, self._recipes)
        if not found:
            return 1, "other key for the same recipe"
        more = len(found) - _DIFFERENCES_SHOWN
        shown = found[:_DIFFERENCES_SHOWN] + ([f"{more} more"] if more > 0 else [])
        return len(found), f"other recipe ({'; '.join(shown)})"


def _paths_of_same_title(path: Path) -> list[Path]:
    """Return the paths in the store whose names differ from that of a target in the key only."""
    title = re.escape(path.stem.rpartition("-")[0])
    name = re.compile(f"{title}-[0-9a-f]{{12}}{re.escape(path.suffix)}")
    return sorted(each for each in path.parent.glob("*") if name.fullmatch(each.name))


def _short_key(path: Path) -> str:
    """Return the first digits of the key, in which the name of a target's path ends."""
    return path.stem.rpartition("-")[2]


def _reason_lines(reasons: Counter[str], kind: str) -> list[str]:
    lines = [
        f"{_count(number, kind)} {_NOUNS[kind][2]}: {reason}."
        for reason, number in reasons.most_common(_REASONS_SHOWN)
    ]
    left = reasons.most_common()[_REASONS_SHOWN:]
    if left:
        number = sum(count for _, count in left)
        lines.append(f"{_count(number, kind)} {_NOUNS[kind][2]}, for {len(left)} more reasons.")
    return lines


def _count(number: int, kind: str) -> str:
    singular, plural, _ = _NOUNS[kind]
    return f"{number} {singular if number == 1 else plural}"


def _versions_text(versions: Counter[str]) -> str:
    """Return " (made by tfdefense 0.1.0)", with numbers if there are several versions."""
    named = {version or "an unknown version": number for version, number in versions.items()}
    if set(versions) == {""}:
        return ""
    if len(named) == 1:
        return f" (made by tfdefense {next(iter(named))})"
    parts = [f"{number} by {version}" for version, number in sorted(named.items())]
    return f" (made by tfdefense: {', '.join(parts)})"


def _read(path: Path) -> Any:
    try:
        return read_json_file(path)
    except ValueError:  # Missing, not a regular file, or damaged.
        return None


def _read_config(directory: Path) -> Mapping[str, Any]:
    """Return {"made_with": versions} of a classifier, defence or set of examples; {} if unknown."""
    contents = (_read(directory / name) for name in _CONFIG_FILES)
    found = next((content for content in contents if _version_in(content)), None)
    return {"made_with": found["made_with"]} if found else {}


def _version_in(content: Any) -> str:
    """Return the version of this package in a record; "" if there is none."""
    try:
        made_with = typed_value(typed_value(content, dict)["made_with"], dict)
        return cut_text(typed_value(made_with["tfdefense"], str))
    except (ValueError, KeyError):
        return ""
