"""The temporary directory: the error if nothing can be written there."""

import contextlib
import errno
import os
import tempfile
from collections.abc import Iterator

from tfdefense.errors import WorkFailedError

_UNWRITABLE = (
    errno.ENOSPC,
    errno.EDQUOT,
    errno.EFBIG,
    errno.EROFS,
    errno.EACCES,
    errno.EPERM,
    errno.ENOENT,  # There is no temporary directory.
)


@contextlib.contextmanager
def temporary_directory_errors(content: str) -> Iterator[None]:
    """Name the temporary directory in the error for a block that cannot write there.

    Args:
      content: what the block writes, for the message.

    Raises:
      WorkFailedError: the directory is full or not writable, or there is none.
    """
    try:
        yield
    except OSError as error:
        if error.errno not in _UNWRITABLE:  # Such as a source that cannot be read.
            raise
        raise WorkFailedError(
            f"{tempfile.tempdir or 'temporary directory'}: {content} cannot be written"
            f" ({os.strerror(error.errno)}). Set TMPDIR to a writable directory with more space."
        ) from error
