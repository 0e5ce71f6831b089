"""Outputs of a model in JSON: every value must be a number of the right kind, in a full array."""

import itertools
import json
from collections.abc import Mapping
from typing import Any

import numpy as np

from tfdefense.serving.client.output_checks import NEEDED_OUTPUTS, OUTPUT_KINDS

_DTYPES: Mapping[str, type[np.generic]] = {"f": np.float32, "iu": np.int64, "b": np.bool_}
_JSON_TYPES: Mapping[str, frozenset[type]] = {
    "f": frozenset({float, int}),
    "iu": frozenset({int}),
    "b": frozenset({bool}),
}
_TYPE_NAMES: Mapping[type, str] = {
    str: "text",
    bool: "true or false",
    float: "fractions",
    int: "whole numbers",
    dict: "an object",
    list: "a list among numbers",
    type(None): "null",
}
_MAX_RANK = 8


def parse_answer(content: bytes) -> Any:
    """Return the value of a JSON text.

    NaN and infinity, which TF Serving writes as NaN and Infinity, become floats.

    Raises:
      ValueError: it is not JSON, is nested too deep, or has a key twice or a number of thousands of
        digits; the message is a short reason.
    """
    try:
        return json.loads(content, object_pairs_hook=_make_object)
    except RecursionError:
        raise ValueError("nested too deep") from None
    except (json.JSONDecodeError, UnicodeDecodeError):
        raise ValueError("damaged") from None
    except _KeyTwiceError:
        raise
    except ValueError:  # Python's limit against numbers whose conversion takes long.
        raise ValueError("a number of too many digits") from None


def parse_outputs(answer: Any) -> dict[str, np.ndarray]:
    """Return the arrays of a `:predict` answer by name.

    Args:
      answer: {"outputs": {name: nested lists}}. TF Serving leaves out the name of an output that is
        the only one; it is then `purified`. Outputs that no signature of `bin/export` has are left
        out if they are no numbers.

    Raises:
      ValueError: it has another form, rows of different lengths, or values that are no numbers; the
        message is a short reason.
    """
    if not isinstance(answer, dict) or "outputs" not in answer:
        raise ValueError('no "outputs" in it')
    outputs = answer["outputs"]
    named = outputs if isinstance(outputs, dict) else {"purified": outputs}
    arrays = {}
    for name, value in named.items():
        try:
            arrays[name] = parse_array(value, OUTPUT_KINDS.get(name, "f"))
        except ValueError as error:
            if name in (*NEEDED_OUTPUTS, *OUTPUT_KINDS):
                raise ValueError(f"its output {name}: {error}") from error
    return arrays


def parse_array(value: Any, kind: str) -> np.ndarray:
    """Return nested lists as an array.

    Args:
      value: lists of lists of numbers, or one number.
      kind: kind of NumPy dtypes: "f", "iu" or "b".

    Returns:
      float32, int64 or bool array. A number beyond float32 becomes infinity.

    Raises:
      ValueError: rows of different lengths, a value of another kind, or a number that is too large.
    """
    shape: list[int] = []
    # One level of lists at a time, with functions in C: an answer can have a hundred million numbers.
    values = [value]
    while (types := set(map(type, values))) == {list}:
        lengths = set(map(len, values))
        if len(lengths) > 1:
            raise ValueError("rows of different lengths")
        shape.append(lengths.pop())
        if len(shape) > _MAX_RANK:
            raise ValueError("nested too deep")
        values = list(itertools.chain.from_iterable(values))
    if wrong := types - _JSON_TYPES[kind]:
        names = sorted(_TYPE_NAMES[each] for each in wrong)
        raise ValueError(f"{' and '.join(names)} in place of {_describe(kind)}")
    try:
        with np.errstate(over="ignore"):
            return (
                np.array(values, np.float64 if kind == "f" else _DTYPES[kind])
                .astype(_DTYPES[kind])
                .reshape(shape)
            )
    except OverflowError:
        raise ValueError("a number is too large") from None


def _describe(kind: str) -> str:
    return {"f": "numbers", "iu": "whole numbers", "b": "true or false"}[kind]


def _make_object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    made = dict(pairs)
    if len(made) < len(pairs):
        raise _KeyTwiceError("a key is in one object twice")
    return made


class _KeyTwiceError(ValueError):
    """Two values for one key, of which Python would take the last."""
