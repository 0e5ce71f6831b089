"""File names that the file system of a target takes for one file."""

import tempfile
import unicodedata
from collections.abc import Collection, Sequence
from pathlib import Path

from tfdefense.errors import UserError
from tfdefense.serving.client.predictions_rows import FILE


def require_distinct_names(target: Path, names: Collection[str]) -> None:
    """Raise `UserError` if two files of a purification would be one file in the target.

    Some file systems ignore case (exFAT, SMB), and some the normalisation of Unicode (APFS): there,
    A.png and a.png are one file, and the second image would replace the first.

    Args:
      target: the folder to write, which need not exist.
      names: names of the files to write, with folders.

    Raises:
      UserError: two names are one file; the message has both.
      OSError: the target cannot be written.
    """
    similar = _similar_names(names)
    if not similar:
        return
    # A new folder gets the rules of the folder that it is made in.
    folder = next(each for each in (target, *target.parents) if each.is_dir())
    pair = find_folded_pair(folder, similar)
    if pair is None:
        return
    is_same_text = _normalised(pair[0]) == _normalised(pair[1])
    first, second = map(ascii, pair) if is_same_text else pair  # Else they would look equal.
    raise UserError(
        f"--output={target}: {first} and {second} are one file on its file system. Rename one, or give"
        " a folder on a file system that tells them apart."
    )


def find_folded_pair(folder: Path, names: Sequence[str]) -> tuple[str, str] | None:
    """Return two names that are one file in a folder, or None; write and remove empty files there.

    Args:
      folder: an existing folder.
      names: distinct names of files, with folders.

    Raises:
      OSError: the folder cannot be written.
    """
    # If the process is killed, the next purification removes this directory from its target.
    with tempfile.TemporaryDirectory(prefix=f"{FILE}.", suffix=".partial", dir=folder) as made:
        probe = Path(made)
        for number, name in enumerate(names):
            path = probe / name
            if path.exists():
                same = (other for other in names[:number] if (probe / other).samefile(path))
                return next(same), name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.touch()
    return None


def _similar_names(names: Collection[str]) -> list[str]:
    """Return the names that differ from another one only in case or normalisation."""
    groups: dict[str, list[str]] = {}
    for name in names:
        groups.setdefault(_normalised(name).casefold(), []).append(name)
    return [name for group in groups.values() if len(group) > 1 for name in group]


def _normalised(name: str) -> str:
    return unicodedata.normalize("NFC", name)
