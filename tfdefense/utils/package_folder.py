"""Folder of an installed package, found without an import of the package."""

from importlib.machinery import PathFinder
from pathlib import Path


def find_package_folder(name: str) -> Path | None:
    """Return the folder of a top-level package; None if it is not in a directory of `sys.path`."""
    # `importlib.util.find_spec` would ask the finder of `tensorflow_stand_in`.
    spec = PathFinder.find_spec(name)
    places = list(spec.submodule_search_locations or ()) if spec else []
    return Path(places[0]) if places else None
