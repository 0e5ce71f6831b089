"""Interpreters of other environments, for packages that do not fit into that of the suite."""

import json
import os
import shutil
import subprocess
import sys

import pytest


def versions(python, packages):
    """Return the versions of packages in the environment of an interpreter, None if missing."""
    script = """
import importlib.metadata, importlib.util, json, sys
installed = [name for name in sys.argv[1:] if importlib.util.find_spec(name)]
print(json.dumps({name: importlib.metadata.version(name) for name in installed}))
"""
    command = [python, "-c", script, *packages]
    found = json.loads(subprocess.run(command, check=True, capture_output=True).stdout)
    return {package: found.get(package) for package in packages}


def interpreter(variable, packages):
    """Return the interpreter that has the packages, or skip.

    It is named by an environment variable, otherwise it is that of the suite. A named interpreter
    without the packages fails the test.

    Args:
      variable: name of the environment variable.
      packages: names of packages, each with the oldest version that fits, as a tuple.
    """
    given = os.environ.get(variable)
    refuse = pytest.fail if given else pytest.skip
    found = shutil.which(given or sys.executable)
    assert found, f"{variable}={given}: no such program"
    python = os.path.abspath(found)
    for package, version in versions(python, packages).items():
        if version is None:
            refuse(f"{package} is not installed in {python}: set {variable}")
        if tuple(map(int, version.split(".")[:2])) < packages[package]:
            needed = ".".join(map(str, packages[package]))
            refuse(f"{package} {version} of {python} is older than {needed}: set {variable}")
    return python
