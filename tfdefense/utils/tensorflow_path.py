"""Names of files and directories that TensorFlow can open."""

from pathlib import Path

from tfdefense.errors import UserError


def require_tensorflow_path(path: Path, place: str | None = None) -> None:
    """Raise `UserError` if a path is not UTF-8: TensorFlow then opens and writes nothing there.

    Args:
      path: the path as given; directories above a relative path may have any name.
      place: start of the error message; None means the path.
    """
    try:
        str(path).encode()
    except UnicodeEncodeError as error:
        raise UserError(
            f"{place or path}: not UTF-8, and TensorFlow opens no other names. Rename it."
        ) from error
