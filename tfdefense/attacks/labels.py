"""An attack in a few letters: its name and what is not as usual, `pgd:restarts=5:steps=100`."""

import dataclasses
from collections.abc import Mapping
from typing import Any

from tfdefense.attacks import ATTACKS, is_bounded, make
from tfdefense.attacks.base import Attack
from tfdefense.errors import UserError, require

_TOLD_APART = ("epsilon",)  # A column of its own in reports.


def label_of(attack: Attack) -> str:
    """The attack's name and the hyperparameters that are not their defaults, but for epsilon."""
    parts = [attack.name]
    for field in dataclasses.fields(attack):
        value = getattr(attack, field.name)
        if field.name not in _TOLD_APART and value != field.default:
            parts.append(
                f"{field.name}={value:g}" if _is_number(value) else f"{field.name}={value}"
            )
    return ":".join(parts)


def attack_from(label: str, epsilon: float | Mapping[str, float] | None = None) -> Attack:
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
    return make(name, **given)


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
