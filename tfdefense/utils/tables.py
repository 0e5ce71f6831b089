"""Tables as lines of text, Markdown and LaTeX."""

from collections.abc import Sequence

import tabulate

Table = Sequence[Sequence[str]]  # The header and the rows, each with one string per column.


def text_table(table: Table) -> list[str]:
    """Return the lines of a table for a terminal."""
    return [line.rstrip() for line in _formatted(table, "simple").splitlines()]


def markdown_table(table: Table) -> list[str]:
    """Return the lines of a table in GitHub's Markdown."""
    escaped = [[cell.replace("|", r"\|") for cell in row] for row in table]
    return _formatted(escaped, "github").splitlines()


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
    return "".join(tabulate.LATEX_ESCAPE_RULES.get(character, character) for character in text)


def format_share(share: float, low: float, high: float, n: int) -> str:
    """Return a share of n in [0, 1] with its confidence interval, such as "97.7% [97.4, 98.0] n=10,000"."""
    return f"{share:.1%} [{100 * low:.1f}, {100 * high:.1f}] n={n:,}"


def _formatted(table: Table, style: str) -> str:
    header, *rows = table
    right = style == "latex_booktabs"
    alignment = ["left", *["right" if right else "left"] * (len(header) - 1)]
    return tabulate.tabulate(
        rows, headers=header, tablefmt=style, disable_numparse=True, colalign=alignment
    )
