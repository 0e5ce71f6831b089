"""`.keras` files: their configuration, and reading of those that a newer Keras wrote."""

import contextlib
import functools
import inspect
import json
import shutil
import tempfile
import zipfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from tfdefense.utils.temporary_directory import temporary_directory_errors

CONFIG_FILE, METADATA_FILE = "config.json", "metadata.json"
# Weights are read from the file, so how they would be initialised does not matter.
_WITHOUT_EFFECT = "keras.initializers"


def read_archive_config(path: Path) -> tuple[dict[str, Any], str]:
    """Return the configuration of the model in a `.keras` file, and the version of Keras that wrote it.

    Raises:
      Exception: the file is damaged; there is another type for each kind of damage.
    """
    with zipfile.ZipFile(path) as archive:
        metadata = json.loads(archive.read(METADATA_FILE))
        return json.loads(archive.read(CONFIG_FILE)), str(metadata["keras_version"])


@contextlib.contextmanager
def readable_archive(path: Path) -> Iterator[Path]:
    """Yield the file as the Keras here can read it: itself, or a temporary copy of a newer one.

    Raises:
      WorkFailedError: the temporary directory is full or not writable.
      Exception: the file is damaged; there is another type for each kind of damage.
    """
    config, version = read_archive_config(path)
    readable = drop_newer_arguments(config, version)
    if readable == config:
        yield path
        return
    with temporary_copy(path, lambda copy: copy_with_config(path, copy, readable)) as copy:
        yield copy


@contextlib.contextmanager
def temporary_copy(path: Path, write: Callable[[Path], None]) -> Iterator[Path]:
    """Yield the path of a temporary copy of a model file, which `write` has written.

    Raises:
      WorkFailedError: the temporary directory is full or not writable.
      Exception: raised by `write`.
    """
    with contextlib.ExitStack() as stack:
        with temporary_directory_errors(f"a copy of {path}"):
            directory = stack.enter_context(tempfile.TemporaryDirectory())
            copy = Path(directory) / f"model{path.suffix}"
            write(copy)
        yield copy


def copy_with_config(path: Path, copy: Path, config: Mapping[str, Any]) -> None:
    """Write a copy of a `.keras` file with another configuration."""
    with zipfile.ZipFile(path) as source, zipfile.ZipFile(copy, "w") as target:
        for entry in source.infolist():
            if entry.filename != CONFIG_FILE:
                with source.open(entry) as content, target.open(entry.filename, "w") as written:
                    shutil.copyfileobj(content, written)
        target.writestr(CONFIG_FILE, json.dumps(config))


def is_newer(version: str) -> bool:
    """Return whether a version of Keras, such as "3.15.1", is newer than the one here."""
    import keras

    return _release(version) > _release(keras.__version__)


def drop_newer_arguments(config: dict[str, Any], version: str) -> dict[str, Any]:
    """Return a configuration without the arguments that only a newer Keras knows, if it wrote it.

    Arguments of initialisers, and those that are None or False, are dropped. Any other has an effect, so
    it stays, and Keras refuses it.

    Args:
      config: of a model, as in a `.keras` file of Keras 3.
      version: of the Keras that wrote it.
    """

    def drop(part: dict[str, Any]) -> dict[str, Any]:
        kind = _class_of(part)
        if kind is None or not isinstance(part.get("config"), Mapping):
            return part
        known, is_free = known_arguments(kind), part["module"] == _WITHOUT_EFFECT
        kept = {
            name: value
            for name, value in part["config"].items()
            if name in known or not (is_free or value is None or value is False)
        }
        return {**part, "config": kept}

    return rewrite_config(config, drop) if is_newer(version) else config


def rewrite_config(config: Any, rewrite: Callable[[dict[str, Any]], dict[str, Any]]) -> Any:
    """Return a configuration in which `rewrite` replaces every mapping, beginning with the innermost.

    Args:
      config: any JSON value; it does not change.
      rewrite: maps a mapping with rewritten values to the mapping that replaces it.
    """
    if isinstance(config, list):
        return [rewrite_config(each, rewrite) for each in config]
    if isinstance(config, Mapping):
        return rewrite({key: rewrite_config(each, rewrite) for key, each in config.items()})
    return config


@functools.cache
def known_arguments(kind: type) -> set[str]:
    """Return the names of the arguments of a class; those of its base classes if it passes them on."""
    known: set[str] = set()
    for base in kind.__mro__:
        parameters: Iterable[inspect.Parameter] = inspect.signature(
            vars(base).get("__init__", object.__init__)
        ).parameters.values()
        known |= {each.name for each in parameters if each.kind is not each.VAR_KEYWORD}
        if not any(each.kind is each.VAR_KEYWORD for each in parameters):
            break
    return known


def _class_of(value: Mapping[str, Any]) -> type | None:
    """Return the public class of Keras that a configuration is of; None for models and others."""
    import keras

    parts = str(value.get("module", "")).split(".")
    if parts[0] != "keras" or len(parts) != 2:
        return None
    kind = getattr(getattr(keras, parts[1], None), str(value.get("class_name")), None)
    return kind if isinstance(kind, type) and not issubclass(kind, keras.Model) else None


def _release(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in version.split(".")[:2] if part.isdecimal())
