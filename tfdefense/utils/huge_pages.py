"""Memory in huge pages, which the C library keeps for the next step.

A step of a training frees hundreds of megabytes, and the next one needs as many. By default, glibc
gives much of that back to the system, and gets it again in pages of 4 KiB, of which processors
remember the places of a few thousand. Under the settings below a step takes 0.8 to 0.95 times as
long (docs/results/speed.md).
"""

import os
import sys

_VARIABLE = "GLIBC_TUNABLES"
_SETTINGS = (
    "glibc.malloc.hugetlb=1",  # Ask for huge pages where the system leaves the choice to programs.
    "glibc.malloc.mmap_threshold=4294967296",  # Large arrays come from the memory that is kept ...
    "glibc.malloc.trim_threshold=8589934592",  # ... of up to 8 GiB.
    "glibc.malloc.arena_max=1",  # All threads share it.
)
_FIRST_VERSION = (2, 35)  # Of glibc, that knows `hugetlb`.


def use_huge_pages() -> None:
    """Start this process again under these settings, as glibc reads them only at the start.

    Child processes inherit them. It does nothing without glibc, or if `GLIBC_TUNABLES` is set, if only
    to "".
    """
    if _VARIABLE not in os.environ and _glibc_version() >= _FIRST_VERSION:
        os.environ[_VARIABLE] = ":".join(_SETTINGS)
        os.execv(sys.executable, [sys.executable, *sys.orig_argv[1:]])


def _glibc_version() -> tuple[int, ...]:
    """Return the version of glibc, such as (2, 36); () without it."""
    try:
        name, _, version = (os.confstr("CS_GNU_LIBC_VERSION") or "").partition(" ")
    except (AttributeError, ValueError):  # Another system or another C library.
        return ()
    numbers = version.split(".")
    return tuple(map(int, numbers)) if name == "glibc" and all(map(str.isdigit, numbers)) else ()
