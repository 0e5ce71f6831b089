"""Content of a report page, independent of its format, and its Markdown."""

import dataclasses
from collections.abc import Sequence

from tfdefense.utils.tables import escape_markdown, markdown_table
from tfdefense.utils.visible_text import visible_line


@dataclasses.dataclass(frozen=True)
class Picture:
    """A picture of a page.

    Attributes:
      title: description for readers who do not see it.
      file: name of a PNG file in the directory of the page.
    """

    title: str
    file: str


@dataclasses.dataclass(frozen=True)
class Term:
    """An entry of a list: a name and its explanation.

    Attributes:
      name: the term; "" for an entry without one.
      text: the explanation.
      is_code: whether the text is Python code.
    """

    name: str
    text: str
    is_code: bool = False


@dataclasses.dataclass(frozen=True)
class Section:
    """A section of a page; its parts are shown in the order of the attributes.

    Attributes:
      title: heading; "" for none.
      paragraphs: text before everything else.
      picture: picture, or None.
      table: header and rows; empty for none.
      terms: list of explanations.
    """

    title: str = ""
    paragraphs: tuple[str, ...] = ()
    picture: Picture | None = None
    table: Sequence[Sequence[str]] = ()
    terms: tuple[Term, ...] = ()


@dataclasses.dataclass(frozen=True)
class Page:
    """A page.

    Attributes:
      title: heading.
      summary: first paragraph; "" for none.
      warnings: name and text of what is shown in red at the top.
      sections: everything else.
    """

    title: str
    summary: str
    warnings: tuple[Term, ...]
    sections: tuple[Section, ...]


def page_markdown(page: Page) -> str:
    """Return a page as Markdown. Texts cannot contain HTML, links or line breaks."""
    lines = [f"# {escape_markdown(page.title)}", ""]
    lines += [escape_markdown(page.summary), ""] if page.summary else []
    lines += warning_lines(page.warnings)
    for section in page.sections:
        lines += section_lines(section)
    return "\n".join(lines)


def warning_lines(warnings: Sequence[Term]) -> list[str]:
    """Return warnings as Markdown quotations."""
    return [line for each in warnings for line in (_warning_line(each), "")]


def _warning_line(warning: Term) -> str:
    return f"> ✗ **{escape_markdown(warning.name)}** {escape_markdown(warning.text)}"


def section_lines(section: Section) -> list[str]:
    """Return the Markdown lines of a section; the last one is empty."""
    lines: list[str] = []
    if section.title:
        lines += [f"## {escape_markdown(section.title)}", ""]
    for paragraph in section.paragraphs:
        lines += [escape_markdown(paragraph), ""]
    if section.picture is not None:
        title = escape_markdown(section.picture.title)
        lines += [f"![{title}]({section.picture.file})", ""]
    if section.table:
        lines += [*markdown_table(section.table), ""]
    if section.terms:
        lines += [*map(_term_line, section.terms), ""]
    return lines


def _term_line(term: Term) -> str:
    text = escape_markdown(term.text)
    if term.is_code:
        text = "`" + visible_line(term.text).replace("`", "'") + "`"
    return f"- **{escape_markdown(term.name)}**: {text}" if term.name else f"- {text}"
