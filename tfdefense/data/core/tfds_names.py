"""Names of the datasets of TFDS, read from the files of its package.

`tfds.list_builders` imports TensorFlow and the code of every dataset, which takes seconds. An unknown
name is refused here before that. The datasets of TFDS are in two places:

- `datasets/NAME/` is one dataset.
- All other folders have modules that define classes. A class whose base class is a builder is a
  dataset, unless it has `skip_registration=True`. Its name is its attribute `name`, or else the name
  of the class in snake case.
"""

import functools
import os
import re
import shlex
from collections.abc import Iterator, Mapping
from pathlib import Path

from tfdefense.data.registry import SOURCES
from tfdefense.errors import UserError, require, unknown_name
from tfdefense.utils.package_folder import find_package_folder

_PACKAGE = "tensorflow_datasets"
_DEFAULT_DATA_DIR = "~/tensorflow_datasets"
_DATASETS = "datasets"
# Folders without modules that define datasets.
_OTHERS = ("core", "dataset_collections", "scripts", "testing")
_BUILDER = "Builder"
# A class with base classes; if its body has an attribute `name`, up to that.
_CLASS = re.compile(
    r"^class (?P<name>\w+)\((?P<bases>[^)]+)\):"
    r"(?:(?=\s*?\n(?P<indent> +)\S)(?:\n|\n[ \t].*)*?"
    r"\n(?P=indent)name(?:: [^=]+)? = [\"'](?P<dataset>\w+)[\"'])?",
    re.MULTILINE,
)
_WORD_START = (re.compile("(.)([A-Z][a-z0-9]+)"), re.compile("([a-z0-9])([A-Z])"))


def require_tfds_name(name: str, data_dir: str | None = None) -> None:
    """Raise `UserError` for a name that is neither in TFDS nor in the directory of prepared datasets.

    Names with a namespace, such as "huggingface:NAME", are not checked.

    Args:
      name: value of `--dataset`, such as "cmaterdb/bangla".
      data_dir: see `DataOptions`.

    Raises:
      UserError: no such directory, or no such name.
    """
    directory = find_data_dir(data_dir) or default_data_dir()
    base = name.partition("/")[0]
    found = _snake_case(base)
    is_prepared = re.fullmatch(r"\w+", found) and (directory / found).exists()
    if ":" in base or is_prepared or found in _in_folder(_DATASETS):
        return
    if tfds_names() and found not in tfds_names():
        raise unknown_dataset(name)


def find_data_dir(data_dir: str | None) -> Path | None:
    """Return the directory of prepared datasets that a flag or `TFDS_DATA_DIR` names, or None.

    Raises:
      UserError: no such directory.
    """
    data_dir = data_dir or os.environ.get("TFDS_DATA_DIR")
    if data_dir is None:
        return None
    require(Path(data_dir).is_dir(), f"--data_dir={data_dir}: no such directory.")
    return Path(data_dir)


def default_data_dir() -> Path:
    """Return the directory that TFDS uses if none is named."""
    return Path(_DEFAULT_DATA_DIR).expanduser()


def unknown_dataset(name: str) -> UserError:
    """Return the error for a value of `--dataset` that is neither a source nor in TFDS."""
    path = Path(name)
    prefix = "dir:" if path.is_dir() else {".csv": "csv:", ".npz": "npz:"}.get(path.suffix.lower())
    if path.exists() and prefix is not None:
        kind = "folder" if path.is_dir() else "file"
        return UserError(
            f"--dataset={name}: is a {kind}, not a dataset of TFDS. To use its images:"
            f" --dataset={shlex.quote(prefix + name)}"
        )
    return unknown_name("dataset", name, [*SOURCES.names(), *tfds_names()])


@functools.cache
def tfds_names() -> frozenset[str]:
    """Return the names of all datasets of the installed TFDS; none if its files are not found."""
    root = find_package_folder(_PACKAGE)
    return frozenset() if root is None else _in_folder(_DATASETS) | _in_modules(root)


def _in_folder(name: str) -> frozenset[str]:
    """Return the names of the datasets that have a folder of their name."""
    root = find_package_folder(_PACKAGE)
    if root is None or not (root / name).is_dir():
        return frozenset()
    return frozenset(path.name for path in (root / name).iterdir() if path.suffix != ".py")


def _in_modules(root: Path) -> frozenset[str]:
    """Return the names of the datasets that are classes of modules."""
    classes = {found["name"]: found for found in _classes_below(root)}
    return frozenset(
        found["dataset"] or _snake_case(name)
        for name, found in classes.items()
        if _is_builder(found, classes) and "skip_registration" not in found["bases"]
    )


def _classes_below(root: Path) -> Iterator[re.Match[str]]:
    for folder in root.iterdir():
        if folder.is_dir() and folder.name not in (*_OTHERS, _DATASETS):
            for path in folder.rglob("*.py"):
                if not path.stem.endswith("_test"):
                    yield from _CLASS.finditer(path.read_text(encoding="utf-8"))


def _is_builder(found: re.Match[str], classes: Mapping[str, re.Match[str]]) -> bool:
    """Return whether a base class, or one of its base classes, is a builder."""
    for base in re.findall(r"\w+(?=\s*(?:,|$))", found["bases"]):
        inherited = classes.get(base, found)
        if base.endswith(_BUILDER) or (inherited is not found and _is_builder(inherited, classes)):
            return True
    return False


def _snake_case(name: str) -> str:
    """Return a name as TFDS writes it: "my_dataset" for "MyDataset"."""
    for pattern in _WORD_START:
        name = pattern.sub(r"\1_\2", name)
    return name.lower()
