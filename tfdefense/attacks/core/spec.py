"""Attacks as text: the name and the hyperparameters that differ from their defaults.

For example `pgd:restarts=5:steps=100`. Attacks of other libraries begin with the library's name:
`art:HopSkipJump:max_iter=10`.
"""

import dataclasses
import difflib
from collections.abc import Mapping
from typing import Any

from tfdefense.attacks.core.attack import Attack
from tfdefense.attacks.core.foreign_attack import ForeignAttack
from tfdefense.attacks.core.foreign_names import not_installed, require_attack_name
from tfdefense.attacks.registry import ATTACK_LIBRARIES, ATTACKS
from tfdefense.errors import UserError, require

_OMITTED = ("epsilon",)  # Reports show it in a column of its own.


def format_attack(attack: Attack) -> str:
    """Return the attack as text, without its epsilon."""
    if isinstance(attack, ForeignAttack):
        return attack.label
    parts = [attack.name]
    for field in dataclasses.fields(attack):
        value = getattr(attack, field.name)
        if field.name not in _OMITTED and value != field.default:
            text = f"{value:g}" if isinstance(value, float) else f"{value}"
            parts.append(f"{field.name}={text}")
    return ":".join(parts)


def parse_attack(text: str, epsilon: float | Mapping[str, float] | None = None) -> Attack:
    """Return the attack that `text` describes.

    Args:
      text: for example "cw", "cw:targets=random:confidence=1" or "foolbox:LinfPGD:steps=10".
      epsilon: radius, or one radius per norm, for an attack that has a radius and whose text gives
        none.

    Raises:
      UserError: the name, a hyperparameter or a value is unknown or out of range, or the library of
        the attack is not installed.
    """
    name, *parts = text.split(":")
    if name in ATTACK_LIBRARIES.entries:
        require_attack_name(name, parts[0] if parts else "")
        return _foreign_class(name).parse(":".join(parts), epsilon)
    defaults: dict[str, Any] = {
        field.name: field.default for field in dataclasses.fields(ATTACKS.get(name))
    }
    given: dict[str, Any] = {}
    for part in parts:
        key, equals, value = part.partition("=")
        require(
            bool(equals), f"--attacks={text}: {part!r} given, NAME=VALUE needed after each colon."
        )
        require(key not in given, f"--attacks={text}: {key} given twice.")
        given[key] = (
            _parse_value(value, defaults[key], f"{name}:{key}") if key in defaults else value
        )
    if epsilon is not None and is_bounded(name):
        if isinstance(epsilon, Mapping):
            norm = given.get("norm", defaults["norm"])
            # The attack itself reports an unknown norm.
            given.setdefault("epsilon", epsilon.get(norm, defaults["epsilon"]))
        else:
            given.setdefault("epsilon", epsilon)
    return make_attack(name, **given)


def make_attack(name: str, **hyperparameters: Any) -> Attack:
    """Return the registered attack `name` with these hyperparameters in place of its defaults.

    Raises:
      UserError: the name or a hyperparameter is unknown, or a value is out of range.
    """
    attack = ATTACKS.get(name)
    known = [field.name for field in dataclasses.fields(attack)]
    for given in hyperparameters:
        nearest = difflib.get_close_matches(given, known, n=1, cutoff=0.6)
        hint = f" Did you mean {nearest[0]!r}?" if nearest else ""
        require(given in known, f"{name}: has no {given!r}.{hint} It has: {', '.join(known)}.")
    return attack(**hyperparameters)


def is_bounded(name: str) -> bool:
    """Return whether the registered attack `name` takes an epsilon."""
    return any(field.name == "epsilon" for field in dataclasses.fields(ATTACKS.get(name)))


def _foreign_class(library: str) -> type[ForeignAttack]:
    """Return the class of the attacks of a library; raise `UserError` if it is not installed."""
    try:
        return ATTACK_LIBRARIES.get(library)
    except ModuleNotFoundError as error:
        raise not_installed(library, error.name) from error


def _parse_value(text: str, default: Any, name: str) -> Any:
    """Return `text` as a value of the type of `default`; a float if that is None."""
    if isinstance(default, bool):
        require(
            text.lower() in ("true", "false"), f"--attacks: {name}={text}, true or false needed."
        )
        return text.lower() == "true"
    if isinstance(default, str):
        return text
    try:
        value = int(text) if isinstance(default, int) else float(text)
        if not text.isascii() or abs(value) >= 2**63:  # `int` takes the digits of all scripts.
            raise ValueError
        return value
    except ValueError:
        raise UserError(f"--attacks: {name}={text}, a number needed.") from None
