"""Reads the Markdown of README.md, CONTRIBUTING.md and docs/ for the tests."""

import dataclasses
import re
import shlex
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[2]
DOCS = sorted((ROOT / "docs").rglob("*.md"))
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", ROOT / "SECURITY.md", *DOCS]
_FENCE = re.compile(r"^\s*```(\w*)")
_COMMAND = re.compile(r"(?:^|\s)(?:bin/(?P<script>[a-z]+)|tfdefense (?P<command>[a-z]+))(?=\s|$)")
_SHELLS = ("sh", "bash")


@dataclasses.dataclass(frozen=True)
class Block:
    """One fenced block of a page.

    Attributes:
      page: path relative to the repository.
      line: number of its first line.
      language: the word after the fence, or "".
      text: its lines.
    """

    page: str
    line: int
    language: str
    text: str


def name_of(page: Path) -> str:
    return page.relative_to(ROOT).as_posix()


def blocks(page: Path) -> Iterator[Block]:
    """Yield the fenced blocks of a page."""
    opened, language, inside = 0, "", []
    for number, line in enumerate(page.read_text().splitlines(), 1):
        fence = _FENCE.match(line)
        if fence and opened:
            yield Block(name_of(page), opened, language, "\n".join(inside))
            opened, inside = 0, []
        elif fence:
            opened, language = number + 1, fence[1]
        elif opened:
            inside.append(line)
    assert not opened, f"{name_of(page)}: the fence above line {opened} is not closed"


def prose(page: Path) -> Iterator[tuple[int, str]]:
    """Yield number and text of the lines that are neither in a fence, nor of a table or a link."""
    fenced = False
    for number, line in enumerate(page.read_text().splitlines(), 1):
        if _FENCE.match(line):
            fenced = not fenced
        elif not fenced and not line.startswith(("|", "!", "[")):
            yield number, line


def commands(page: Path) -> Iterator[tuple[str, str, list[str]]]:
    """Yield place, command and arguments of every command of the package in a page.

    Commands are read from fenced shell blocks and from inline code.
    """
    for block in blocks(page):
        if block.language in _SHELLS:
            for line in block.text.replace("\\\n", " ").splitlines():
                yield from _parsed(f"{block.page}:{block.line}", line)
    text = " ".join(line.strip() for _, line in prose(page))
    for code in re.findall(r"`([^`]+)`", text):
        yield from _parsed(name_of(page), code)


def _parsed(place: str, line: str) -> Iterator[tuple[str, str, list[str]]]:
    found = _COMMAND.search(line)
    if found:
        rest = line[found.end() :].partition(" &")[0].partition(";")[0].rstrip("'")
        yield place, found["script"] or found["command"], shlex.split(rest, comments=True)
