"""The numbered versions of an exported model, as TF Serving wants them in its directory."""

from pathlib import Path

SAVED_MODEL_FILE = "saved_model.pb"
TFLITE_FILE = "model.tflite"
CLASS_NAMES_FILE = "class_names.txt"


def versions_in(directory: Path) -> list[int]:
    """The numbers, in order; none where there is no such directory."""
    names = [path.name for path in directory.iterdir()] if directory.is_dir() else []
    return sorted(int(name) for name in names if name.isdecimal())


def latest(directory: Path) -> Path | None:
    """The directory of the highest number, or None."""
    versions = versions_in(directory)
    return directory / str(versions[-1]) if versions else None
