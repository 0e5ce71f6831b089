"""Stored settings as texts for messages."""

import json
import re
import textwrap
from typing import Any

_HASH_DIGITS = 12
_HASH = re.compile(r"(2-)?[0-9a-f]{32,}")
_NOT_FLAGS = ("kind", "classifier_hash", "weights", "attack_code", "model_code", "tensorflow")


def format_flag(name: str, value: Any) -> str:
    """Return a setting as it is typed on a command line."""
    label = name.replace("_", " ") if name in _NOT_FLAGS else f"--{name}"
    separator = " " if name in _NOT_FLAGS or value is None else "="
    return f"{label}{separator}{format_setting(value)}"


def format_setting(value: Any) -> str:
    """Return a settings value for a message; a long hash is cut."""
    if value is None:
        return "not set"
    if isinstance(value, list):
        return ",".join(map(format_setting, value))
    text = str(value)
    return text[:_HASH_DIGITS] if _HASH.fullmatch(text) else text


def shorten_json(value: Any) -> str:
    """Return a JSON value for a message, cut if it is long."""
    return textwrap.shorten(json.dumps(value), 60, placeholder=" ...")
