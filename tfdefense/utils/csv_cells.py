"""Cells of CSV files, escaped so that spreadsheets do not compute them as formulas."""

import csv
import io
from collections.abc import Mapping, Sequence
from typing import Any

from tfdefense.utils.visible_text import visible_text

# A spreadsheet computes a cell that begins so. The quotation mark itself is escaped to be reversible.
_FORMULA_STARTS = ("=", "+", "-", "@", "\t", "\r", "'")


def escape_cell(value: Any) -> Any:
    """Return a cell, with a quotation mark in front of a text that could be a formula."""
    return f"'{value}" if isinstance(value, str) and value.startswith(_FORMULA_STARTS) else value


def unescape_cell(text: str) -> str:
    """Return the text that `escape_cell` escaped."""
    return text[1:] if text.startswith("'") and text[1:].startswith(_FORMULA_STARTS) else text


def visible_row(row: Mapping[str, Any]) -> dict[str, Any]:
    """Return `escape_row`, with hidden characters as escapes; this cannot be undone."""
    return escape_row(
        {
            name: visible_text(value, keep="") if isinstance(value, str) else value
            for name, value in row.items()
        }
    )


def escape_row(row: Mapping[str, Any]) -> dict[str, Any]:
    """Return a row whose texts are escaped; numbers stay."""
    return {name: escape_cell(value) for name, value in row.items()}


def rows_as_csv(rows: Sequence[Mapping[str, Any]]) -> str:
    """Return the text of a CSV file from rows with equal keys, which its header names.

    Args:
      rows: column name -> value, at least one row; `visible_row` escapes them.
    """
    text = io.StringIO()
    writer = csv.DictWriter(text, list(rows[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(map(visible_row, rows))
    return text.getvalue()
