"""Layout of an exported model: one numbered subdirectory per version, as TF Serving expects."""

from pathlib import Path

SAVED_MODEL_FILE = "saved_model.pb"
TFLITE_FILE = "model.tflite"
CLASS_NAMES_FILE = "class_names.txt"


def list_versions(directory: Path) -> list[int]:
    """Return the version numbers in ascending order; [] if the directory does not exist."""
    names = [path.name for path in directory.iterdir()] if directory.is_dir() else []
    return sorted(int(name) for name in names if name.isdecimal())


def latest_version(directory: Path) -> Path | None:
    """Return the subdirectory with the highest version number, or None if there is none."""
    versions = list_versions(directory)
    return directory / str(versions[-1]) if versions else None
