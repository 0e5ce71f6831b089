"""Names of the attacks of other libraries, read from their files.

An import of such a library takes seconds. An unknown name, or a library that is not installed, is
refused here before that. The attacks of ART and foolbox are the classes that `attacks` imports or
assigns; those of cleverhans are the modules of a folder.
"""

import ast
import functools
import importlib.util
from collections.abc import Iterator

from tfdefense.errors import UserError, require, unknown_name
from tfdefense.utils.package_folder import find_package_folder

# Library -> folder of its attacks, below the folder of the library.
_FOLDERS = {"art": "attacks/evasion", "cleverhans": "tf2/attacks", "foolbox": "attacks"}
_MODULES_ARE_ATTACKS = ("cleverhans",)
_BASE_CLASSES = "base"  # Module of foolbox.


def require_attack_name(library: str, method: str) -> None:
    """Raise `UserError` unless a library is installed and has an attack of this name.

    Args:
      library: "art", "cleverhans" or "foolbox".
      method: name of the attack in the library.

    Raises:
      UserError: the library is not installed, or has no such attack.
    """
    if find_package_folder(library) is None and importlib.util.find_spec(library) is None:
        raise not_installed(library, library)
    require(method != "", f"--attacks={library}:: give the name of an attack, {library}:NAME.")
    names = foreign_attack_names(library)
    if names and method not in names:
        raise unknown_name(f"--attacks={library}", method, names)


def not_installed(library: str, module: str | None) -> UserError:
    """Return the error for a library of attacks that needs a missing module."""
    return UserError(
        f"--attacks={library}:...: the module {module} is not installed. In a clone, install it with:"
        f" .venv/bin/pip install '.[{library}]'"
    )


@functools.cache
def foreign_attack_names(library: str) -> tuple[str, ...]:
    """Return the names of all attacks of a library; none if its files are not found."""
    package = find_package_folder(library)
    if package is None:
        return ()
    folder = package / _FOLDERS[library]
    if library in _MODULES_ARE_ATTACKS:
        return tuple(sorted(path.stem for path in folder.glob("*.py") if path.stem != "__init__"))
    tree = ast.parse((folder / "__init__.py").read_text(encoding="utf-8"))
    return tuple(sorted(set(_class_names(tree.body))))


def _class_names(body: list[ast.stmt]) -> Iterator[str]:
    """Yield the names of the classes that statements import or assign."""
    for line in body:
        if isinstance(line, ast.ImportFrom) and line.module != _BASE_CLASSES:
            yield from (each.asname or each.name for each in line.names)
        elif isinstance(line, ast.Assign) and isinstance(line.value, ast.Name):
            yield from map(ast.unparse, line.targets)
        elif isinstance(line, ast.If) and _is_installed(line.test):
            yield from _class_names(line.body)


def _is_installed(test: ast.expr) -> bool:
    """Return whether the modules that a condition such as `find_spec("numba") is not None` names are there."""
    constants = (node.value for node in ast.walk(test) if isinstance(node, ast.Constant))
    return all(importlib.util.find_spec(each) for each in constants if isinstance(each, str))
