"""Marker file of a results folder: the paper, the budget and the versions of its figures."""

import json
from pathlib import Path

from tfdefense.errors import UserError, cut_text, require
from tfdefense.utils.atomic_write import write_text_file
from tfdefense.utils.json_types import typed_value
from tfdefense.utils.package_versions import package_versions
from tfdefense.utils.untrusted_file import read_json_file

SCHEMA = 1
_MARKER = "made.json"


def save_marker(directory: Path, paper: str, budget: str) -> None:
    """Create the results folder and write its marker.

    Raises:
      UserError: the folder cannot be created.
    """
    try:
        directory.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(
            f"--output={directory.parent}: cannot be written ({error.strerror})."
        ) from error
    marker = {
        "schema": SCHEMA,
        "paper": paper,
        "budget": budget,
        "made_with": package_versions(),
    }
    write_text_file(directory / _MARKER, json.dumps(marker, indent=2) + "\n")


def has_marker(directory: Path) -> bool:
    """Return True if a directory is a results folder."""
    return (directory / _MARKER).is_file()


def read_marker(directory: Path) -> tuple[int, str]:
    """Return schema and budget of a results folder; raise `UserError` if the marker is damaged."""
    file = directory / _MARKER
    try:
        marker = typed_value(read_json_file(file), dict)
        return typed_value(marker["schema"], int), typed_value(marker["budget"], str)
    except (ValueError, KeyError, TypeError) as error:
        raise UserError(f"{file}: damaged. Remove it, or give another --output.") from error


def require_same_results(directory: Path, budget: str) -> None:
    """Raise `UserError` if a results folder has results of another budget or schema."""
    output = directory.parent
    if not has_marker(directory):
        require(
            not directory.exists() or not any(directory.iterdir()),
            f"--output={output}: {directory} has other files and no {_MARKER}. Give another --output.",
        )
        return
    schema, there = read_marker(directory)
    require(
        (schema, there) == (SCHEMA, budget),
        f"--output={output}: has results of --budget={cut_text(there)}, schema {schema}, but --budget={budget}, schema"
        f" {SCHEMA}, is given. Give another --output.",
    )
