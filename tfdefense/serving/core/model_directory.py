"""Layout of an exported model: one numbered subdirectory per version, as TF Serving expects."""

from pathlib import Path

SAVED_MODEL_FILE = "saved_model.pb"
TFLITE_FILE = "model.tflite"
MAX_VERSION = 2**63 - 1


def list_versions(directory: Path) -> list[int]:
    """Return the version numbers in ascending order; [] if the directory does not exist."""
    names = [path.name for path in directory.iterdir()] if directory.is_dir() else []
    return sorted(int(name) for name in names if _is_version(name))


def _is_version(name: str) -> bool:
    """Return whether TF Serving takes a name as a version: an int64 in its usual form."""
    is_number = name.isascii() and name.isdecimal() and len(name) < 20
    return is_number and name == str(int(name)) and int(name) <= MAX_VERSION


def latest_version(directory: Path) -> Path | None:
    """Return the subdirectory with the highest version number, or None if there is none."""
    versions = list_versions(directory)
    return directory / str(versions[-1]) if versions else None
