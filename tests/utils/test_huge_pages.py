import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tfdefense.utils import huge_pages

CHOICE = Path("/sys/kernel/mm/transparent_hugepage/enabled")
PROGRAM = """
import json, os, sys
from tfdefense.utils.huge_pages import use_huge_pages
use_huge_pages()
array = bytearray(64 * 2**20)
array[::4096] = bytes(len(array) // 4096)
lines = open("/proc/self/smaps_rollup").read().splitlines()
huge = next(line.split()[1] for line in lines if line.startswith("AnonHugePages"))
print(json.dumps([os.environ.get("GLIBC_TUNABLES"), sys.argv[1:], int(huge)]))
"""

pytestmark = pytest.mark.skipif(
    huge_pages._glibc_version() < (2, 35), reason="needs glibc 2.35 or later"
)


def run(*arguments, **changes):
    """Run a program that uses huge pages: its settings, its arguments, and KiB in huge pages."""
    environment = {name: value for name, value in os.environ.items() if name != "GLIBC_TUNABLES"}
    command = [sys.executable, "-c", PROGRAM, *arguments]
    done = subprocess.run(command, env=environment | changes, capture_output=True, check=True)
    return json.loads(done.stdout)


def test_a_process_starts_again_with_its_arguments():
    settings, arguments, _ = run("--name=a b", "é")
    assert settings.split(":")[0] == "glibc.malloc.hugetlb=1"
    assert arguments == ["--name=a b", "é"]


@pytest.mark.skipif(
    not CHOICE.is_file() or "[madvise]" not in CHOICE.read_text(encoding="utf-8"),
    reason="the system does not leave the choice to programs",
)
def test_large_arrays_are_in_huge_pages():
    assert run()[2] >= 32 * 1024
    assert run(GLIBC_TUNABLES="")[2] < 32 * 1024


@pytest.mark.parametrize("given", ["", "glibc.malloc.arena_max=2"])
def test_settings_of_the_user_are_kept(given):
    assert run(GLIBC_TUNABLES=given)[0] == given


@pytest.mark.parametrize(
    ("text", "version"),
    [("glibc 2.36", (2, 36)), ("glibc 2.35-x", ()), ("musl 1.2", ()), ("", ()), (None, ())],
)
def test_other_c_libraries_have_no_version(monkeypatch, text, version):
    monkeypatch.setattr(os, "confstr", lambda name: text)
    assert huge_pages._glibc_version() == version


def test_a_system_without_the_name_has_no_version(monkeypatch):
    def fail(name):
        raise ValueError(name)

    monkeypatch.setattr(os, "confstr", fail)
    assert huge_pages._glibc_version() == ()
