"""Names that TensorFlow accepts for parts of a graph."""

import re


def graph_name(text: str) -> str:
    """Return `text` with only the characters that TensorFlow allows in a name, "_" for others.

    Names begin with a letter, a digit or a dot; leading "_" and "-" are removed. A text without any
    such character becomes "model".
    """
    return re.sub(r"[^A-Za-z0-9_.-]", "_", text).lstrip("_-") or "model"
