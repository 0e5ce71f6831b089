"""Tables for a terminal and for Markdown, from lines of cells, the header first."""

from collections.abc import Sequence

_LATEX = str.maketrans({character: "\\" + character for character in "%_&#$"})


def text_table(lines: Sequence[Sequence[str]]) -> list[str]:
    """Columns of equal width, a rule under the header."""
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    padded = [
        "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip()
        for line in lines
    ]
    return [padded[0], "-" * max(map(len, padded)), *padded[1:]]


def markdown_table(lines: Sequence[Sequence[str]]) -> list[str]:
    """A table of GitHub's Markdown."""
    header, *body = lines
    return ["| " + " | ".join(line) + " |" for line in (header, ["---"] * len(header), *body)]


def latex_table(lines: Sequence[Sequence[str]], caption: str) -> list[str]:
    """A table for a paper that loads booktabs."""

    def row(line: Sequence[str]) -> str:
        return " & ".join(cell.translate(_LATEX) for cell in line) + r" \\"

    header, *body = lines
    return [
        r"\begin{table}",
        rf"\caption{{{caption.translate(_LATEX)}}}",
        rf"\begin{{tabular}}{{l{'r' * (len(header) - 1)}}}",
        *(r"\toprule", row(header), r"\midrule"),
        *map(row, body),
        *(r"\bottomrule", r"\end{tabular}", r"\end{table}"),
    ]


def share_cell(share: float, low: float, high: float, n: int) -> str:
    """A share in [0, 1] of n, with its interval."""
    return f"{share:.1%} [{100 * low:.1f}, {100 * high:.1f}] n={n:,}"
