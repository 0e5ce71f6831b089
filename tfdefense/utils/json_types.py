"""Values read from JSON, checked against Python annotations."""

import types
import typing
from typing import Any, TypeVar

_NAMES = {
    int: "a whole number",
    float: "a number",
    str: "a string",
    bool: "true or false",
    dict: "an object",
}
Record = TypeVar("Record")
_PLURALS = {
    int: "whole numbers",
    float: "numbers",
    str: "strings",
    bool: "true or false values",
    dict: "objects",
}


class TypeMismatch(ValueError):
    """A JSON value of another type than its annotation; its text names the types that fit."""

    def __init__(self, annotation: Any) -> None:
        super().__init__(type_name(annotation))


def typed_value(value: Any, annotation: Any) -> Any:
    """Return a JSON value if it is of the type `annotation`; lists become tuples.

    Args:
      value: what `json.loads` returns.
      annotation: `int`, `float` (a whole number fits too), `str`, `bool`, `dict`, `tuple[X, ...]`,
        `tuple[X, Y]`, or a union of them, with None for null.

    Raises:
      TypeMismatch: it is of another type.
    """
    if isinstance(annotation, types.UnionType):
        for option in typing.get_args(annotation):
            try:
                return typed_value(value, option)
            except TypeMismatch:
                continue
        raise TypeMismatch(annotation)
    if typing.get_origin(annotation) is tuple:
        return _typed_tuple(value, annotation)
    if annotation is types.NoneType:
        fits = value is None
    elif annotation is float:
        fits = isinstance(value, int | float) and not isinstance(value, bool)
    elif annotation is int:
        fits = isinstance(value, int) and not isinstance(value, bool)
    else:
        fits = isinstance(value, annotation)
    if not fits:
        raise TypeMismatch(annotation)
    return value


def typed_items(values: Any, record_type: type[Record]) -> tuple[Record, ...]:
    """Return the dataclasses of a list of JSON objects, whose values are of the types of the fields.

    Raises:
      TypeMismatch: it is not a list of objects, or a value is of another type.
      TypeError: an object lacks a field or has another.
    """
    if not isinstance(values, list):
        raise TypeMismatch(tuple[dict, ...])
    annotations = typing.get_type_hints(record_type)
    found = []
    for value in values:
        content = typed_value(value, dict)
        record = record_type(**content)
        for name, item in content.items():
            annotation = annotations[name]
            is_dict = typing.get_origin(annotation) is dict
            typed_value(item, dict if is_dict else annotation)
        found.append(record)
    return tuple(found)


def _typed_tuple(value: Any, annotation: Any) -> tuple[Any, ...]:
    items = typing.get_args(annotation)
    repeated = items[-1] is Ellipsis
    if not isinstance(value, list | tuple) or not (repeated or len(value) == len(items)):
        raise TypeMismatch(annotation)
    try:
        kinds = items[:1] * len(value) if repeated else items
        return tuple(typed_value(each, kind) for each, kind in zip(value, kinds, strict=True))
    except TypeMismatch:
        raise TypeMismatch(annotation) from None


def type_name(annotation: Any) -> str:
    """Return the English name of a type, such as "a list of numbers or null"."""
    if isinstance(annotation, types.UnionType):
        return " or ".join(map(type_name, typing.get_args(annotation)))
    if annotation is types.NoneType:
        return "null"
    if typing.get_origin(annotation) is tuple:
        items = typing.get_args(annotation)
        count = "" if items[-1] is Ellipsis else f"{len(items)} "
        return f"a list of {count}{_PLURALS[items[0]]}"
    return _NAMES[annotation]
