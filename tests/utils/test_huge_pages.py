import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tfdefense.cli import main as command_line
from tfdefense.utils import huge_pages

CHOICE = Path("/sys/kernel/mm/transparent_hugepage/enabled")
NAMES = ("GLIBC_TUNABLES", "TFDEFENSE_HUGE_PAGES")
# Takes 64 MiB, gives them back, and takes them again.
PROGRAM = """
import json, os, resource, sys
from tfdefense.utils.huge_pages import use_huge_pages
use_huge_pages()
def faults():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    array = bytearray(64 * 2**20)
    lines = open("/proc/self/smaps_rollup").read().splitlines()
    huge = next(int(line.split()[1]) for line in lines if line.startswith("AnonHugePages"))
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before, huge
_, huge = faults()
again, _ = faults()
print(json.dumps([os.environ.get("GLIBC_TUNABLES"), sys.argv[1:], huge, again]))
"""

needs_glibc = pytest.mark.skipif(
    huge_pages._glibc_version() < (2, 35), reason="needs glibc 2.35 or later"
)


def run(*arguments, **changes):
    """Run `PROGRAM`: its settings, its arguments, KiB in huge pages, page faults the second time."""
    usual = {
        name: value
        for name, value in os.environ.items()
        if name not in NAMES and not name.startswith("MALLOC_")
    }
    command = [sys.executable, "-c", PROGRAM, *arguments]
    done = subprocess.run(command, env=usual | changes, capture_output=True, check=True)
    return json.loads(done.stdout)


@needs_glibc
def test_a_process_starts_again_with_its_arguments():
    settings, arguments, _, _ = run("--name=a b", "é")
    assert settings.startswith("glibc.malloc.hugetlb=1:glibc.malloc.mmap_threshold=1073741824:")
    assert arguments == ["--name=a b", "é"]


@needs_glibc
def test_memory_is_kept():
    assert run()[3] < 1_000
    assert run(GLIBC_TUNABLES="")[3] > 10_000


@needs_glibc
@pytest.mark.skipif(
    not CHOICE.is_file() or "[madvise]" not in CHOICE.read_text(encoding="utf-8"),
    reason="the system does not leave the choice to programs",
)
def test_large_arrays_are_in_huge_pages():
    assert run()[2] >= 32 * 1024
    assert run(GLIBC_TUNABLES="")[2] < 32 * 1024


@needs_glibc
@pytest.mark.parametrize("given", ["", "glibc.malloc.arena_max=2"])
def test_settings_of_the_user_are_kept(given):
    assert run(GLIBC_TUNABLES=given)[0] == given


@needs_glibc
def test_a_limit_of_the_user_for_malloc_is_kept():
    assert run(MALLOC_ARENA_MAX="2")[0] is None


@pytest.fixture
def starts(monkeypatch):
    """The calls of `os.execv`, which does nothing; the environment is that of a usual shell."""
    calls = []
    for name in [*NAMES, *(each for each in os.environ if each.startswith("MALLOC_"))]:
        monkeypatch.setenv(name, "")  # So that the end of the test restores it.
        monkeypatch.delenv(name)
    monkeypatch.setattr(huge_pages, "_glibc_version", lambda: (2, 36))
    monkeypatch.setattr(os, "execv", lambda path, arguments: calls.append(arguments))
    return calls


def test_a_process_starts_again_only_once(starts, monkeypatch):
    huge_pages.use_huge_pages()
    assert starts == [[sys.executable, *sys.orig_argv[1:]]]
    monkeypatch.delenv("GLIBC_TUNABLES")  # As an environment of higher rights loses it.
    huge_pages.use_huge_pages()
    assert len(starts) == 1


@pytest.mark.parametrize(("cpus", "one_arena"), [(2, True), (64, False)])
def test_many_processors_do_not_wait_for_one_arena(starts, monkeypatch, cpus, one_arena):
    monkeypatch.setattr(huge_pages, "usable_cores", lambda: cpus)
    huge_pages.use_huge_pages()
    assert ("arena_max=1" in os.environ["GLIBC_TUNABLES"]) == one_arena


def test_a_process_that_cannot_start_again_goes_on(starts, monkeypatch):
    def fail(path, arguments):
        raise OSError(7, "Argument list too long")

    monkeypatch.setattr(os, "execv", fail)
    huge_pages.use_huge_pages()
    assert not set(NAMES) & set(os.environ)


def test_only_the_command_of_a_process_starts_it_again(starts, monkeypatch, capsys):
    assert command_line.main(["--help"]) == 0
    assert not starts
    monkeypatch.setattr(sys, "argv", ["tfdefense", "--help"])
    assert command_line.start() == 0
    assert len(starts) == 1


def test_other_c_libraries_have_no_version(monkeypatch):
    for text in ("glibc 2.35-x", "musl 1.2", "", None):
        monkeypatch.setattr(os, "confstr", lambda name, text=text: text)
        assert huge_pages._glibc_version() == ()


@pytest.mark.parametrize("error", [ValueError, AttributeError, OSError(22, "Invalid argument")])
def test_a_system_that_does_not_know_the_name_has_no_version(monkeypatch, error):
    def fail(name):
        raise error

    monkeypatch.setattr(os, "confstr", fail)
    assert huge_pages._glibc_version() == ()


def test_trials_have_usual_pages(starts, monkeypatch):
    assert huge_pages.usual_pages() == {}
    monkeypatch.setenv("TFDEFENSE_HUGE_PAGES", "1")
    assert huge_pages.usual_pages() == {"GLIBC_TUNABLES": ""}
