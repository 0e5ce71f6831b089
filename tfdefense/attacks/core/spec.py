"""An attack in a few letters: its name and what is not as usual, `pgd:restarts=5:steps=100`."""

import dataclasses
import difflib
from collections.abc import Mapping
from typing import Any

from tfdefense.attacks.core.attack import Attack
from tfdefense.attacks.registry import ATTACKS
from tfdefense.errors import UserError, require

_TOLD_APART = ("epsilon",)  # A column of its own in reports.


def format_attack(attack: Attack) -> str:
    """The attack's name and the hyperparameters that are not their defaults, but for epsilon."""
    parts = [attack.name]
    for field in dataclasses.fields(attack):
        value = getattr(attack, field.name)
        if field.name not in _TOLD_APART and value != field.default:
            parts.append(
                f"{field.name}={value:g}" if _is_number(value) else f"{field.name}={value}"
            )
    return ":".join(parts)


def parse_attack(label: str, epsilon: float | Mapping[str, float] | None = None) -> Attack:
    """The attack of a label.

    Args:
      label: such as "cw" or "cw:targets=random:confidence=1".
      epsilon: the radius, or one for each norm, where the attack has one and the label does not say it.

    Raises:
      UserError: an unknown name or hyperparameter, or a value that will not do.
    """
    name, *parts = label.split(":")
    kind = ATTACKS.get(name)
    defaults = {field.name: field.default for field in dataclasses.fields(kind)}
    given: dict[str, Any] = {}
    for part in parts:
        key, equals, text = part.partition("=")
        require(
            bool(equals), f"--attacks={label}: {part!r} given, NAME=VALUE needed after each colon."
        )
        given[key] = _read(text, defaults[key], f"{name}:{key}") if key in defaults else text
    if epsilon is not None and is_bounded(name):
        if isinstance(epsilon, Mapping):
            # An unknown norm is named by the attack itself.
            epsilon = epsilon.get(given.get("norm", defaults["norm"]), defaults["epsilon"])
        given.setdefault("epsilon", epsilon)
    return make_attack(name, **given)


def _read(text: str, default: Any, what: str) -> Any:
    """`text` as a value of the type of `default`; a number where that is None."""
    if isinstance(default, bool):
        require(text in ("true", "false"), f"--attacks: {what}={text}, true or false needed.")
        return text == "true"
    if isinstance(default, str):
        return text
    try:
        return int(text) if isinstance(default, int) else float(text)
    except ValueError:
        raise UserError(f"--attacks: {what}={text}, a number needed.") from None


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def is_bounded(name: str) -> bool:
    """Whether the registered attack `name` takes an epsilon."""
    return any(field.name == "epsilon" for field in dataclasses.fields(ATTACKS.get(name)))


def make_attack(name: str, **hyperparameters: Any) -> Attack:
    """The registered attack `name` with these hyperparameters in place of its defaults.

    Raises:
      UserError: unknown name or hyperparameter, or one out of range.
    """
    attack = ATTACKS.get(name)
    known = [field.name for field in dataclasses.fields(attack)]
    for given in hyperparameters:
        nearest = difflib.get_close_matches(given, known, n=1, cutoff=0.6)
        hint = f" Did you mean {nearest[0]!r}?" if nearest else ""
        require(given in known, f"{name}: has no {given!r}.{hint} It has: {', '.join(known)}.")
    return attack(**hyperparameters)
