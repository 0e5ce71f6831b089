"""Memory in huge pages, which the C library keeps for the next step of a training.

A step frees hundreds of megabytes, and the next one needs as many. By default, glibc gives much of
that back to the system and gets it again, in pages of 4 KiB; the TLB of a processor has entries for a
few thousand of them. docs/results/speed.md has what the settings below are worth.
"""

import os
import sys

from tfdefense.utils.processors import usable_cores

_VARIABLE = "GLIBC_TUNABLES"
_STARTED_AGAIN = "TFDEFENSE_HUGE_PAGES"
_SETTINGS = (
    "glibc.malloc.hugetlb=1",  # Ask for huge pages where the system leaves the choice to programs.
    f"glibc.malloc.mmap_threshold={2**30}",  # Smaller arrays use memory that is kept.
    f"glibc.malloc.trim_threshold={2**32}",  # Keep up to 4 GiB.
)
# Threads share the memory that is kept, and wait for each other: not tried with more processors.
_ONE_ARENA, _ONE_ARENA_CPUS = "glibc.malloc.arena_max=1", 4
_FIRST_GLIBC = (2, 35)  # The first version with the setting `hugetlb`.


def use_huge_pages() -> None:
    """Start this process again under these settings, as glibc reads them only at the start.

    Call it first: everything before it happens twice. Child processes inherit the settings. It does
    nothing without glibc, and where the user has chosen: if `GLIBC_TUNABLES` or a variable of `malloc`,
    such as `MALLOC_ARENA_MAX`, is set, also to an empty text.
    """
    chosen = [name for name in os.environ if name.startswith("MALLOC_")]
    chosen += [name for name in (_VARIABLE, _STARTED_AGAIN) if name in os.environ]
    if chosen or not sys.executable or _glibc_version() < _FIRST_GLIBC:
        return
    few_cpus = usable_cores() <= _ONE_ARENA_CPUS
    settings = [*_SETTINGS, _ONE_ARENA] if few_cpus else _SETTINGS
    os.environ.update({_VARIABLE: ":".join(settings), _STARTED_AGAIN: "1"})
    try:
        os.execv(sys.executable, [sys.executable, *sys.orig_argv[1:]])
    except OSError:  # Such as an environment that is too large now. It is slower without.
        del os.environ[_VARIABLE], os.environ[_STARTED_AGAIN]


def usual_pages() -> dict[str, str]:
    """Return the variables that keep a child process from inheriting these settings."""
    return {_VARIABLE: ""} if _STARTED_AGAIN in os.environ else {}


def _glibc_version() -> tuple[int, ...]:
    """Return the version of glibc, such as (2, 36); () without it."""
    try:
        name, _, version = (os.confstr("CS_GNU_LIBC_VERSION") or "").partition(" ")
    except (AttributeError, ValueError, OSError):  # Another system or another C library.
        return ()
    numbers = version.split(".")
    return tuple(map(int, numbers)) if name == "glibc" and all(map(str.isdigit, numbers)) else ()
