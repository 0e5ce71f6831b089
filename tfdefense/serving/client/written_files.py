"""Protection of files in the target folder of a purification."""

from collections.abc import Collection, Mapping
from pathlib import Path

from tfdefense.errors import require
from tfdefense.serving.client.predictions_file import FILE


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
      UserError: a file to write is one of the inputs, or is in a folder that is a link to somewhere
        else, or exists and is not in `predictions.csv`.
    """
    inputs = {path.resolve() for path in sources.values()}
    for name in sources:
        path = target / name
        require(
            path.resolve() not in inputs,
            f"--output={target}: {name} would replace the input {path}. Give another folder.",
        )
        require(
            path.parent.resolve().is_relative_to(target.resolve()),
            f"--output={target}: the folder {path.parent} is a link to another place. Remove it.",
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
