"""A page as one HTML file that contains its pictures."""

import base64
import functools
from pathlib import Path
from typing import Any

import jinja2

from tfdefense.evaluation.report.page import Page
from tfdefense.utils.visible_text import visible_text


def page_html(page: Page, directory: Path) -> str:
    """Return a page as HTML. Every text is escaped.

    Args:
      page: the content.
      directory: where its pictures are.
    """
    template = _environment().get_template("page.html.jinja")
    return template.render(page=page, embed=lambda file: _data_uri(directory / file))


@functools.cache
def _environment() -> jinja2.Environment:
    return jinja2.Environment(
        loader=jinja2.PackageLoader("tfdefense.evaluation.report"),
        autoescape=True,
        finalize=_without_hidden_characters,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )


def _without_hidden_characters(value: Any) -> Any:
    """Return a text with control characters and direction marks as escapes."""
    return visible_text(value) if type(value) is str else value


def _data_uri(path: Path) -> str:
    return f"data:image/png;base64,{base64.b64encode(path.read_bytes()).decode()}"
