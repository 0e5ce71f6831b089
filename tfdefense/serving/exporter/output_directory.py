"""Directory of the versions of an exported model: the next version, and what is in the way."""

import contextlib
import re
import shutil
import time
from collections.abc import Iterator
from pathlib import Path

import tensorflow as tf

from tfdefense.errors import require, short_reason
from tfdefense.serving.core.model_directory import (
    MAX_VERSION,
    SAVED_MODEL_FILE,
    TFLITE_FILE,
    latest_version,
    list_versions,
)
from tfdefense.utils.real_path import real_path
from tfdefense.utils.tensorflow_path import require_tensorflow_path

PARTIAL_PREFIX = ".tfdefense-export-"
_PARTIAL = re.compile(re.escape(PARTIAL_PREFIX) + "[a-z0-9_]{8}")  # A name that `mkdtemp` makes.
_FILES = {"saved_model": SAVED_MODEL_FILE, "tflite": TFLITE_FILE}
_ABANDONED_SECONDS = 24 * 3600


def version_directory(directory: Path, version: int | None, format: str) -> Path:
    """Return the directory of a new version.

    Args:
      directory: directory of all versions.
      version: version number; None means the next free one.
      format: "saved_model" or "tflite".

    Raises:
      UserError: the version exists or is not an int64 above 0, other versions have another format, or
        the directory or one in it is a link, or its name is not UTF-8.
    """
    require_tensorflow_path(directory, f"--output={directory}")
    require_no_links(directory)
    newest = latest_version(directory)
    require(
        newest is None or not any(newest.iterdir()) or (newest / _FILES[format]).is_file(),
        f"--output={directory}: has versions that are not of --format={format}, and a server treats all versions"
        " as one model. Give another directory.",
    )
    free = 1 if newest is None else int(newest.name) + 1
    if version is None:
        require(
            free <= MAX_VERSION,
            f"--output={directory}: has the version {MAX_VERSION}, the largest. Give another directory.",
        )
        return directory / str(free)
    is_number = isinstance(version, int) and not isinstance(version, bool)
    require(
        is_number and 1 <= version <= MAX_VERSION,
        f"--version={version}: a number from 1 to {MAX_VERSION} is needed.",
    )
    require(
        version not in list_versions(directory),
        f"--version={version}: exists in {directory}, and a server may have loaded it. Leave --version out to write"
        f" the next free version, {free}.",
    )
    return directory / str(version)


def require_no_links(directory: Path) -> None:
    """Raise `UserError` if a directory of versions, or an entry in it, is a symbolic link.

    The files of a version would be written to another place than the one named. A link in the path to
    the directory is accepted: on some systems /tmp is one.
    """
    require(
        not directory.is_symlink(),
        f"--output={directory}: is a symbolic link. Give the directory that it leads to:"
        f" --output={real_path(directory)}",
    )
    for entry in sorted(directory.iterdir()) if directory.is_dir() else []:
        require(
            not entry.is_symlink(),
            f"--output={directory}: {entry} is a symbolic link to another place. Remove it, or give another"
            " directory.",
        )


@contextlib.contextmanager
def tensorflow_error_as_os_error() -> Iterator[None]:
    """Raise `OSError` in place of TensorFlow's errors in a block that only writes a file."""
    try:
        yield
    except tf.errors.OpError as error:
        raise OSError(0, short_reason(error)) from error


def remove_abandoned(directory: Path) -> None:
    """Remove the partial directories of killed exports: those older than a day."""
    for path in directory.iterdir():
        if not _PARTIAL.fullmatch(path.name):
            continue
        with contextlib.suppress(FileNotFoundError):  # Its export has just ended.
            if time.time() - path.lstat().st_mtime > _ABANDONED_SECONDS:
                shutil.rmtree(path, ignore_errors=True)
