"""Revision of code: a hash of the modules that classes are defined in and of the modules they use.

Results on disk that depend on code have it in their key. A change of the code then makes them again.
A number that a developer raises can be forgotten, and a test that asks for it after each change is
answered without a thought. The hash cannot be forgotten. Its price: a change that keeps all results,
such as another name of a variable, makes them again too. Docstrings, comments and layout do not
count.
"""

import ast
import functools
import importlib.metadata
import importlib.util
import inspect
import sys
from collections.abc import Collection, Iterator
from typing import NamedTuple

from tfdefense.utils.hashing import hash_parts

# Folders of the package whose code decides which images an attack makes.
_FOLDERS = ("adapters", "attacks", "classifiers", "defenses", "networks")
# Modules of these folders that store images and make none.
_STORAGE = ("adversarial_dataset", "adversarial_dataset_maker", "shard_verification", "shards")
# Libraries that make images: import name -> distribution. Their versions are part of the revision.
_LIBRARIES = {
    "art": "adversarial-robustness-toolbox",
    "cleverhans": "cleverhans",
    "foolbox": "foolbox",
}
# Stands for a module without source text, as in a zip file of bytecode. Raise it when an attack of
# such a distribution makes other images.
_DECLARED_REVISION = 1
_DIGITS = 12


class _Import(NamedTuple):
    """`from module import name`; `import module` has the name ""."""

    module: str
    name: str


@functools.cache
def code_revision(*classes: type) -> str:
    """Return the revision of the code of `classes`, 12 hexadecimal digits.

    It covers the modules of the classes and of their base classes, and all modules that these import,
    directly or not, from the folders of this package that decide about images. For a class of another
    package it covers that package too. The versions of attack libraries are included.
    """
    packages = {_top(kind.__module__) for kind in classes} - {"tfdefense"}
    waiting = {base.__module__ for kind in classes for base in kind.__mro__}
    covered, libraries = set[str](), set[str]()
    while waiting:
        module = waiting.pop()
        if module in covered or not _decides_about_images(module, packages):
            continue
        covered.add(module)
        found = _imports(module)
        libraries |= {_top(each.module) for each in found if _top(each.module) in _LIBRARIES}
        known = {"tfdefense", *packages}
        waiting |= {_origin(each) for each in found if _top(each.module) in known}
    parts = [f"{module}\n{_plain_source(module)}\n" for module in sorted(covered)]
    parts += [f"{library} {_library_version(library)}\n" for library in sorted(libraries)]
    return hash_parts(part.encode() for part in parts)[:_DIGITS]


def read_source(module: str) -> str | None:
    """Return the source text of a module, or None if there is none, as in a zip file of bytecode."""
    try:
        if module == "__main__":
            return inspect.getsource(sys.modules[module])
        spec = importlib.util.find_spec(module)
        get_source = getattr(spec and spec.loader, "get_source", None)
        return get_source(module) if get_source else None
    except (ImportError, ValueError, OSError, TypeError):
        return None


@functools.cache
def _tree(module: str) -> ast.Module | None:
    """Return the syntax tree of a module without docstrings, or None if it has no source text."""
    source = read_source(module)
    return None if source is None else _DocstringRemover().visit(ast.parse(source))


def _plain_source(module: str) -> str:
    tree = _tree(module)
    return f"declared revision {_DECLARED_REVISION}" if tree is None else ast.unparse(tree)


class _DocstringRemover(ast.NodeTransformer):
    """Replaces strings that stand alone, such as docstrings, by `pass`."""

    def visit_Expr(self, node: ast.Expr) -> ast.AST:
        is_text = isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)
        return ast.Pass() if is_text else node


@functools.cache
def _imports(module: str) -> tuple[_Import, ...]:
    """Return what a module imports, also inside functions."""
    tree = _tree(module)
    return () if tree is None else tuple(_iterate_imports(tree, module))


def _iterate_imports(tree: ast.Module, module: str) -> Iterator[_Import]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield _Import(alias.name, "")
        elif isinstance(node, ast.ImportFrom):
            source = node.module or ""
            if node.level:
                source = _absolute_name(module, node.level, source)
            for alias in node.names:
                yield _Import(source, alias.name)


def _absolute_name(module: str, level: int, source: str) -> str:
    """Return the absolute name of a module that `module` imports by `level` dots and `source`."""
    parts = module.split(".")
    package = parts if _is_package(module) else parts[:-1]
    package = package[: len(package) - level + 1]
    return ".".join([*package, *([source] if source else [])])


def _origin(imported: _Import) -> str:
    """Return the module in which an imported name is defined, also if a package passes it on."""
    module, name = imported
    if not name:
        return module
    if _is_module(f"{module}.{name}"):
        return f"{module}.{name}"
    if _is_package(module):
        for passed_on in _imports(module):
            if passed_on.name == name and passed_on.module != module:
                return _origin(passed_on)
    return module


@functools.cache
def _is_module(name: str) -> bool:
    try:
        return importlib.util.find_spec(name) is not None
    except (ImportError, ValueError):
        return False


@functools.cache
def _is_package(name: str) -> bool:
    try:
        spec = importlib.util.find_spec(name)
    except (ImportError, ValueError):
        return False
    return spec is not None and spec.submodule_search_locations is not None


def _decides_about_images(module: str, packages: Collection[str]) -> bool:
    """Return whether a module is in a folder that decides about images, or in one of `packages`."""
    top, *path = module.split(".")
    if top != "tfdefense":
        return top in packages
    return len(path) > 0 and path[0] in _FOLDERS and path[-1] not in _STORAGE


def _top(module: str) -> str:
    return module.partition(".")[0]


def _library_version(library: str) -> str:
    try:
        return importlib.metadata.version(_LIBRARIES[library])
    except importlib.metadata.PackageNotFoundError:
        return "not installed"
