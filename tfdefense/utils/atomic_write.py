"""Files that are written completely or not at all."""

import contextlib
import os
import re
import shutil
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path

_PREFIX_CHARACTERS = 40  # A name may be as long as the file system allows.
_PARTIAL = re.compile(r"(.+)\.[a-z0-9_]{8}\.partial", re.DOTALL)  # A name that `mkdtemp` makes.


@contextlib.contextmanager
def atomic_write(path: Path) -> Iterator[Path]:
    """Yield a temporary path, and move the file that was written there to `path` at the end.

    If the block fails, the temporary file is deleted and `path` is not changed. The temporary file
    has the same name as `path`, because some writers choose the format from the suffix.
    """
    # A unique name: processes in two containers that share a disk may have the same number.
    prefix = f"{path.name[:_PREFIX_CHARACTERS]}."
    directory = Path(tempfile.mkdtemp(prefix=prefix, suffix=".partial", dir=path.parent))
    try:
        yield directory / path.name
        os.replace(directory / path.name, path)
    finally:
        shutil.rmtree(directory, ignore_errors=True)


def write_text_file(path: Path, text: str) -> None:
    """Write a text file in UTF-8, completely or not at all.

    File names in the text that are not valid UTF-8 keep their bytes.
    """
    with atomic_write(path) as partial:
        partial.write_text(text, encoding="utf-8", errors="surrogateescape")


def remove_partial_files(directory: Path, names: Iterable[str] | None = None) -> None:
    """Remove the temporary files of killed processes from a directory that no other one writes.

    Args:
      directory: the directory.
      names: names of the files that were to be written there; None means any.
    """
    prefixes = None if names is None else {name[:_PREFIX_CHARACTERS] for name in names}
    for path in directory.iterdir():
        found = _PARTIAL.fullmatch(path.name)
        is_ours = found is not None and (prefixes is None or found[1] in prefixes)
        if is_ours and path.is_dir() and not path.is_symlink():
            shutil.rmtree(path, ignore_errors=True)
