"""Standard output and error of a command, safe against text from outside."""

import contextlib
import io
import sys
from collections.abc import Iterator
from typing import TextIO

from tfdefense.utils.visible_text import visible_text

# What commands and progress bars write themselves: colours, and moves to the start of a line.
_COLOUR_ON, _COLOUR_OFF, _LINE_UP = "\033[31m", "\033[0m", "\033[A"


class SafeStream(io.TextIOBase):
    """Text stream that shows hidden characters as escapes before it writes to another stream.

    Args:
      stream: the stream to write to.
    """

    def __init__(self, stream: TextIO) -> None:
        self.stream = stream

    @property
    def encoding(self) -> str:  # type: ignore[override]
        """Encoding of the stream."""
        return self.stream.encoding

    def write(self, text: str) -> int:
        """Write a text, with hidden characters as escapes; return its length.

        Python's `print` and tqdm write their own sequences at the start or the end of a text, where they
        stay: they colour it or move to another line.
        """
        start, end = "", ""
        for sequence in (_COLOUR_ON, "\r"):
            if text.startswith(sequence):
                start = sequence
        if text.endswith(_COLOUR_OFF):
            end = _COLOUR_OFF
        if text and not text.replace(_LINE_UP, ""):
            start = text
        inner = text[len(start) : len(text) - len(end)]
        self.stream.write(start + visible_text(inner) + end)
        return len(text)

    def flush(self) -> None:
        """Write what is buffered."""
        self.stream.flush()

    def fileno(self) -> int:
        """Return the file descriptor of the stream."""
        return self.stream.fileno()

    def isatty(self) -> bool:
        """Return whether the stream is a terminal."""
        return self.stream.isatty()

    def writable(self) -> bool:
        """Return True."""
        return True


@contextlib.contextmanager
def safe_streams() -> Iterator[None]:
    """Print through `SafeStream` in the block.

    Characters that the encoding of the terminal lacks become escapes.
    """
    before = sys.stdout, sys.stderr
    for stream in before:
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    sys.stdout, sys.stderr = map(SafeStream, before)
    try:
        yield
    finally:
        sys.stdout, sys.stderr = before
