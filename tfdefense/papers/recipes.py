"""Recipes of targets: what their keys stand for, and how two recipes differ.

The key of a target is a hash. Its recipe is saved under that key, so that a later version can name
the fields in which its own target differs.
"""

import contextlib
import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from tfdefense.errors import UserError, cut_text
from tfdefense.papers.store import TargetStore
from tfdefense.papers.stored_target import SCHEMA, StoredTarget
from tfdefense.utils.atomic_write import write_text_file
from tfdefense.utils.json_types import typed_value
from tfdefense.utils.untrusted_file import read_json_file

# Key -> {"schema", "kind", "title", "depends_on": fields, in which other targets are keys}.
Recipes = dict[str, dict[str, Any]]

_ABSENT = "the default"
_UNKNOWN = "is not recorded"
# Names for readers of fields, and of the value None.
_FIELD_NAMES = {"passes": "epochs"}
_NONE_NAMES = {"images": "all", "train_images": "all"}
_PLACES = {"classifiers": "classifier", "examples": "examples", "defenses": "defence"}


def collect_recipes(targets: Iterable[StoredTarget]) -> Recipes:
    """Return the recipes of targets and of their prerequisites, each after its prerequisites."""
    found: Recipes = {}

    def visit(target: StoredTarget) -> None:
        if target.key in found:
            return
        for prerequisite in target.prerequisites():
            visit(prerequisite)
        found[target.key] = _recipe(target)

    for target in targets:
        visit(target)
    return found


def _recipe(target: StoredTarget) -> dict[str, Any]:
    # Keys leave out some fields, which the recipe needs: see `ClassifierTarget.key_fields`.
    fields = {**StoredTarget.key_fields(target), **target.key_fields()}
    recipe = {"schema": SCHEMA, "kind": target.kind, "title": target.title, "depends_on": fields}
    return typed_value(json.loads(json.dumps(recipe)), dict)


def save_recipes(recipes: Recipes, path: Path) -> None:
    """Add recipes to the JSON file of a results folder.

    Those in the file stay: tables that this call does not write may have cells with their keys.
    """
    merged = {**load_recipes(path), **recipes}
    write_text_file(path, json.dumps(merged, indent=1, sort_keys=True) + "\n")


def load_recipes(path: Path) -> Recipes:
    """Return the recipes that `save_recipes` wrote; damaged ones are left out."""
    found: Recipes = {}
    with contextlib.suppress(ValueError):  # Missing, or damaged as a whole.
        for key, recipe in typed_value(read_json_file(path), dict).items():
            with contextlib.suppress(ValueError, KeyError):
                found[key] = _checked(recipe)
    return found


def store_recipes(recipes: Recipes, store: TargetStore) -> None:
    """Write one file per recipe into the store, which other machines may do at the same time.

    Raises:
      UserError: the folder cannot be written.
    """
    known = load_stored_recipes(store)
    try:
        for key, recipe in recipes.items():
            path = store.path / "recipes" / f"{key[:12]}.json"
            if key not in known:
                path.parent.mkdir(parents=True, exist_ok=True)
                write_text_file(path, json.dumps({**recipe, "key": key}, indent=1) + "\n")
    except OSError as error:
        raise UserError(f"--store={store.path}: cannot be written ({error.strerror}).") from error


def load_stored_recipes(store: TargetStore) -> Recipes:
    """Return the recipes in the store; damaged files are left out."""
    found: Recipes = {}
    for path in sorted(store.path.glob("recipes/*.json")):
        try:
            recipe = _checked(read_json_file(path))
            found[typed_value(recipe["key"], str)] = recipe
        except (ValueError, KeyError):
            continue
    return found


def _checked(recipe: Any) -> dict[str, Any]:
    """Return a recipe; raise `ValueError` or `KeyError` if it is none."""
    content = typed_value(recipe, dict)
    typed_value(content["kind"], str)
    typed_value(content["depends_on"], dict)
    return content


def recipe_differences(
    now: Mapping[str, Any], before: Mapping[str, Any], recipes: Recipes
) -> list[str]:
    """Return the differences of two recipes, such as "classifier epochs: 8, was 6".

    Args:
      now, before: `depends_on` of the recipes.
      recipes: recipes of the targets that they depend on, by key.
    """
    return list(dict.fromkeys(_differences(now, before, recipes, "")))


def _differences(
    now: Mapping[str, Any], before: Mapping[str, Any], recipes: Recipes, place: str
) -> list[str]:
    found = []
    for name in {**now, **before}:
        new, old = now.get(name, _ABSENT), before.get(name, _ABSENT)
        if new == old:
            continue
        if name == "options" and (pairs := _option_pairs(new, old)):
            found += _differences(*pairs, recipes, place)
        elif isinstance(new, str) and new in recipes:
            found += _target_differences(name, recipes[new], old, recipes)
        elif _are_lists_of_targets(new, old, recipes):
            for key, other in zip(new, old, strict=True):
                if key != other:
                    found += _target_differences(name, recipes[key], other, recipes)
        else:
            label = f"{place} {_FIELD_NAMES.get(name, name)}".strip()
            found.append(f"{label}: {_text(name, new)}, was {_text(name, old)}")
    return found


def _target_differences(
    name: str, recipe: Mapping[str, Any], old_key: Any, recipes: Recipes
) -> list[str]:
    """Return the differences of a target that a recipe depends on."""
    place = _PLACES.get(recipe["kind"], name)
    old = recipes.get(old_key) if isinstance(old_key, str) else None
    if old is None or old["kind"] != recipe["kind"]:
        return [f"{place}: the recipe before {_UNKNOWN}"]
    found = _differences(recipe["depends_on"], old["depends_on"], recipes, place)
    return found or [f"{place}: other key for the same fields"]


def _option_pairs(new: Any, old: Any) -> tuple[dict[str, Any], dict[str, Any]] | None:
    """Return options by name, of which a missing one has its default; None if they are none."""
    try:
        return _named_options(new), _named_options(old)
    except (TypeError, ValueError):
        return None


def _named_options(options: Any) -> dict[str, Any]:
    if options == _ABSENT:
        return {}
    if not isinstance(options, list):
        raise ValueError("not a list")
    return {typed_value(name, str): value for name, value in options}


def _are_lists_of_targets(new: Any, old: Any, recipes: Recipes) -> bool:
    return (
        isinstance(new, list)
        and isinstance(old, list)
        and len(new) == len(old)
        and all(isinstance(key, str) and key in recipes for key in new)
    )


def _text(name: str, value: Any) -> str:
    if value is None:
        return _NONE_NAMES.get(name, _ABSENT)
    return cut_text(value if isinstance(value, str) else json.dumps(value))
