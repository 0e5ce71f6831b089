"""File of the class names of an exported model: a JSON list, so that any text survives."""

import json
from collections.abc import Sequence
from pathlib import Path

from tfdefense.errors import UserError, require
from tfdefense.utils.untrusted_file import read_json_file, read_text_file

CLASS_NAMES_FILE = "class_names.json"
_OLD_FILE = "class_names.txt"  # Until 0.2.0: one name per line.


def save_class_names(directory: Path, class_names: Sequence[str]) -> Path:
    """Write `class_names.json`: a list of K strings, in ASCII with JSON's escapes."""
    path = directory / CLASS_NAMES_FILE
    path.write_text(json.dumps(list(class_names), indent=1) + "\n", encoding="ascii")
    return path


def load_class_names(directory: Path) -> tuple[str, ...]:
    """Return the K names of a model; () if it has no file of them.

    Args:
      directory: directory of one version, a SavedModel or a TFLite model.

    Raises:
      UserError: the file is damaged.
    """
    for folder in (directory / "assets", directory):
        if (folder / CLASS_NAMES_FILE).is_file():
            return _read_names(folder / CLASS_NAMES_FILE)
        if (folder / _OLD_FILE).is_file():
            return tuple(read_text_file(folder / _OLD_FILE).splitlines())
    return ()


def _read_names(path: Path) -> tuple[str, ...]:
    try:
        names = read_json_file(path)
    except ValueError as error:
        raise UserError(f"{path}: damaged: not JSON ({error}). Export the model again.") from error
    require(
        isinstance(names, list) and all(isinstance(name, str) for name in names),
        f"{path}: damaged: a list of texts is needed. Export the model again.",
    )
    return tuple(names)
