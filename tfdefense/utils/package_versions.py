"""Versions of the packages that results depend on."""

import importlib.metadata
import platform

import tfdefense

_PACKAGES = ("tensorflow", "keras", "numpy", "cleverhans", "tensorflow-datasets")


def package_versions() -> dict[str, str]:
    """Return name -> version of this package, of Python and of the packages that results depend on."""
    found = {"tfdefense": tfdefense.__version__, "python": platform.python_version()}
    for package in _PACKAGES:
        for name in (package, f"{package}-cpu"):
            try:
                found[package] = importlib.metadata.version(name)
                break
            except importlib.metadata.PackageNotFoundError:
                continue
    return found
