"""Protection of files in the target folder of a purification."""

import contextlib
import errno
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path

from tfdefense.errors import WorkFailedError, require
from tfdefense.serving.client.predictions_rows import FILE
from tfdefense.utils.atomic_write import remove_partial_files
from tfdefense.utils.real_path import real_path

_FULL_DISK = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO)

# (device, inode): one file or folder has the same under every name, also behind links and mounts.
_Identity = tuple[int, int]


def require_separate_folders(source: Path, target: Path) -> None:
    """Raise `UserError` if the target is the source or inside it, or holds the source folder.

    Folders are the same if the system says so, also under another name, such as a link or a mount.

    Args:
      source: a folder or a file that exists.
      target: the folder to write.
    """
    require(
        target.is_dir() or not target.exists(),
        f"--output={target}: is a file. Give a folder.",
    )
    source_place, target_place = real_path(source), real_path(target)
    is_source = target_place == source_place or _identity(target) == _identity(source)
    require(not is_source, f"--output={target}: is --input itself. Give another folder.")
    if not source.is_dir():
        return
    above_target = {_identity(folder) for folder in target_place.parents}
    require(
        _identity(source) not in above_target,
        f"--output={target}: is inside --input={source}. Give another folder.",
    )
    above_source = {_identity(folder) for folder in source_place.parents}
    require(
        not target.exists() or _identity(target) not in above_source,
        f"--output={target}: holds --input={source}; purified images would be among the others. Give"
        " another folder.",
    )


def require_writable_targets(
    target: Path, sources: Mapping[str, Path], written: Collection[str], *, overwrite: bool
) -> None:
    """Raise `UserError` if a purification would write over something that is not its own.

    Args:
      target: the folder to write.
      sources: input files by their name in the target.
      written: names of the files in `predictions.csv`.
      overwrite: allow to replace files that no purification has written.

    Raises:
      UserError: a file to write is one of the inputs, also through a link or a hard link, or is in a
        folder of inputs or one that is a link to somewhere else, or exists and is not in
        `predictions.csv`.
    """
    inputs = {real_path(path) for path in sources.values()}
    identities = {_identity(path) for path in sources.values()}
    folders = {_identity(path.parent) for path in sources.values()}
    for name in sources:
        path = target / name
        require(
            real_path(path) not in inputs and not (path.exists() and _identity(path) in identities),
            f"--output={target}: {name} would replace the input {path}. Give another folder.",
        )
        require(
            real_path(path.parent).is_relative_to(real_path(target)),
            f"--output={target}: the folder {path.parent} is a link to another place. Remove it.",
        )
        require(
            not path.parent.exists() or _identity(path.parent) not in folders,
            f"--output={target}: {path.parent} is a folder of --input. Give another folder.",
        )
        require(
            not path.is_dir(),
            f"--output={target}: {path} is a folder; a file of this name would be written.",
        )
        is_foreign = path.is_symlink() or (path.exists() and name not in written)
        require(
            overwrite or not is_foreign,
            f"--output={target}: {path} exists, and bin/purify did not write it. Give another folder,"
            " or --overwrite to replace it.",
        )
    predictions = target / FILE
    require(
        overwrite or not predictions.is_symlink(),
        f"--output={target}: {predictions} is a link. Give another folder, or --overwrite.",
    )


def remove_unfinished(target: Path, names: Collection[str]) -> None:
    """Remove the files that a killed purification left half-written.

    Args:
      target: the folder, locked.
      names: names of the files to write in it, with folders.
    """
    names_in: dict[Path, list[str]] = {target: [FILE]}
    for name in names:
        path = target / name
        names_in.setdefault(path.parent, []).append(path.name)
    for folder, inside in names_in.items():
        if folder.is_dir():
            remove_partial_files(folder, inside)


@contextlib.contextmanager
def name_full_disk(path: Path) -> Iterator[None]:
    """Name a path in the error for a block that cannot write it because the disk is full.

    Raises:
      WorkFailedError: the disk is full, a quota is used up, or the disk fails.
    """
    try:
        yield
    except OSError as error:
        if error.errno not in _FULL_DISK:
            raise
        raise WorkFailedError(
            f"{path}: cannot be written ({error.strerror}). Nothing of it is left. Repeat the command to"
            " resume when there is room."
        ) from error


def _identity(path: Path) -> _Identity | None:
    """Return the identity of a file or folder, behind links; None if there is none."""
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_dev, status.st_ino
