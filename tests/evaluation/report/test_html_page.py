import base64
import shutil

import pytest

from tfdefense.evaluation.report.html_page import page_html
from tfdefense.evaluation.report.page import Page, Picture, Section, Term, page_markdown

SCRIPT = "<script>alert(1)</script>"
ESCAPED = "&lt;script&gt;alert(1)&lt;/script&gt;"


@pytest.fixture
def picture(saved, tmp_path):
    shutil.copy(saved / "gallery.png", tmp_path / "picture.png")
    return tmp_path / "picture.png"


def test_every_text_of_a_page_is_escaped(picture):
    section = Section(
        title=SCRIPT,
        paragraphs=(SCRIPT,),
        picture=Picture(SCRIPT, picture.name),
        table=[[SCRIPT, "b"], ["c", SCRIPT]],
        terms=(Term(SCRIPT, SCRIPT), Term("", SCRIPT, is_code=True)),
    )
    html = page_html(Page(SCRIPT, SCRIPT, (Term(SCRIPT, SCRIPT),), (section,)), picture.parent)
    assert "<script" not in html
    assert html.count(ESCAPED) == 13


def test_attribute_cannot_be_left_by_a_quote(picture):
    section = Section(picture=Picture('" onload="alert(1)', picture.name))
    html = page_html(Page("page", "", (), (section,)), picture.parent)
    assert 'alt="&#34; onload=&#34;alert(1)"' in html


def test_pictures_are_inside(picture):
    page = Page("page", "", (), (Section(picture=Picture("a picture", picture.name)),))
    content = base64.b64encode(picture.read_bytes()).decode()
    assert f'src="data:image/png;base64,{content}"' in page_html(page, picture.parent)


def test_markdown_has_the_parts_in_order():
    section = Section(
        title="Section",
        paragraphs=("A paragraph.",),
        picture=Picture("a picture", "picture.png"),
        table=[["a", "b"], ["1|2", "3"]],
        terms=(Term("name", "text"), Term("", "f(x=1)", is_code=True)),
    )
    page = Page("Title", "A summary.", (Term("Failed.", "Why."),), (section,))
    assert page_markdown(page).splitlines() == [
        *("# Title", "", "A summary.", "", "> ✗ **Failed.** Why.", ""),
        *("## Section", "", "A paragraph.", "", "![a picture](picture.png)", ""),
        *("| a    | b   |", "|------|-----|", r"| 1\|2 | 3   |", ""),
        *("- **name**: text", "- `f(x=1)`"),
    ]
