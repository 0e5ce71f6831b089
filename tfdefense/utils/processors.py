"""The processors that this process may use."""

import os


def usable_cores() -> int:
    """Return the number of logical processors that this process may use, at least 1.

    `taskset` and cpusets count; CPU quotas of containers do not.
    """
    if hasattr(os, "sched_getaffinity"):  # Only on Linux.
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
