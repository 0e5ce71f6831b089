"""Tables as lines of text, Markdown and LaTeX."""

import re
from collections.abc import Sequence

import tabulate

from tfdefense.utils.visible_text import visible_line, visible_text

# Code between backquotes, by the rules of Markdown: as many at the end as at the start.
_CODE = re.compile(r"(?<!`)(`+)(?!`).+?(?<!`)\1(?!`)")
# Parts of HTML and of links. GitHub also makes links of texts such as www.a.example and a@b.example.
_ENTITIES = {"<": "&lt;", "`": "&#96;", "://": "&#58;//", "@": "&#64;"}

_MOST_DECIMALS = 6  # Of a percentage.

Table = Sequence[Sequence[str]]  # The header and the rows, each with one string per column.


class Markdown(str):
    """Text that is Markdown already, which `markdown_table` does not escape."""

    __slots__ = ()


def text_table(table: Table) -> list[str]:
    """Return the lines of a table for a terminal."""
    return [line.rstrip() for line in _formatted(table, "simple").splitlines()]


def markdown_table(table: Table) -> list[str]:
    """Return the lines of a table in GitHub's Markdown."""
    escaped = [[_as_markdown(cell).replace("|", r"\|") for cell in row] for row in table]
    return _formatted(escaped, "github").splitlines()


def _as_markdown(cell: str) -> str:
    return cell if isinstance(cell, Markdown) else escape_markdown(cell)


def escape_markdown(text: str) -> str:
    """Return a text as one line of Markdown that contains no HTML and no link.

    Code between backquotes stays, because nothing in it is HTML or a link.
    """
    line = visible_line(text)
    # A backslash before a backquote can change where code starts.
    codes = [] if "\\`" in line else list(_CODE.finditer(line))
    starts = [0, *(code.end() for code in codes)]
    ends = [*(code.start() for code in codes), len(line)]
    texts = [_escape_plain(line[start:end]) for start, end in zip(starts, ends, strict=True)]
    return texts[0] + "".join(
        code.group() + text for code, text in zip(codes, texts[1:], strict=True)
    )


def _escape_plain(text: str) -> str:
    for part, entity in _ENTITIES.items():
        text = text.replace(part, entity)
    text = re.sub(r"\b(www)\.", r"\1&#46;", text, flags=re.IGNORECASE)
    return text.replace("](", "]\\(").replace("][", "]\\[")


def latex_table(table: Table, caption: str) -> list[str]:
    """Return the lines of a LaTeX table for a document that loads booktabs.

    The first column is aligned left, the others right. Special characters are escaped.
    """
    return [
        r"\begin{table}",
        rf"\caption{{{escape_latex(caption)}}}",
        *_formatted(table, "latex_booktabs").splitlines(),
        r"\end{table}",
    ]


def escape_latex(text: str) -> str:
    """Return a text with the special characters of LaTeX escaped."""
    rules = tabulate.LATEX_ESCAPE_RULES
    return "".join(rules.get(character, character) for character in visible_line(text))


def format_share(share: float, low: float, high: float, n: int) -> str:
    """Return a share of n in [0, 1] with its confidence interval, such as "97.7% [97.4, 98.0] n=10,000"."""
    return f"{format_percent(share)} [{100 * low:.1f}, {100 * high:.1f}] n={n:,}"


def format_percent(share: float, decimals: int = 1) -> str:
    """Return a share in [0, 1] in percent, such as "97.7%".

    Only 1 is 100 % and only 0 is 0 %: 9,999 of 10,000 are "99.99%", with more decimals than asked for.
    """
    text = f"{share:.{decimals}%}"
    while 0 < share < 1 and float(text[:-1]) in (0, 100) and decimals < _MOST_DECIMALS:
        decimals += 1
        text = f"{share:.{decimals}%}"
    return text


def _formatted(table: Table, style: str) -> str:
    header, *rows = [[visible_text(cell, keep="") for cell in row] for row in table]
    right = style == "latex_booktabs"
    alignment = ["left", *["right" if right else "left"] * (len(header) - 1)]
    return tabulate.tabulate(
        rows, headers=header, tablefmt=style, disable_numparse=True, colalign=alignment
    )
