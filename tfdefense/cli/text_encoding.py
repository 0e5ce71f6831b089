"""UTF-8 for file names, arguments and output of commands, in every locale."""

import io
import os
import sys


def use_utf8() -> None:
    """Start this process again in Python's UTF-8 mode if the locale has another encoding.

    Arguments keep their bytes, and child processes use UTF-8 too. Output that is not valid text is
    printed with backslashes.
    """
    if sys.getfilesystemencoding().lower() != "utf-8":
        os.environ["PYTHONUTF8"] = "1"
        os.execv(sys.executable, [sys.executable, "-X", "utf8", *sys.orig_argv[1:]])
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # A closed one is None.
            stream.reconfigure(encoding="utf-8", errors="backslashreplace")
