"""Length and width of the pages, and what they contain."""

import re

import pytest

from tests.docs.markdown import DOCS, PAGES, ROOT, blocks, name_of, prose

GENERATED = {"measured", "reference/commands"}


def test_the_readme_has_at_most_120_lines():
    assert len((ROOT / "README.md").read_text().splitlines()) <= 120


@pytest.mark.parametrize("page", DOCS, ids=name_of)
def test_a_page_has_at_most_250_lines(page):
    assert len(page.read_text().splitlines()) <= 250


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_prose_is_at_most_100_columns_wide(page):
    wide = [f"{number}: {line}" for number, line in prose(page) if len(line) > 100]
    assert not wide


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_tables_have_at_most_six_columns(page):
    rows = [line for line in page.read_text().splitlines() if re.match(r"\|[ :|-]+\|$", line)]
    assert all(row.count("|") <= 7 for row in rows)


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_fences_are_closed_and_named(page):
    assert all(block.language for block in blocks(page))


def test_every_page_is_in_the_navigation():
    navigation = (ROOT / "mkdocs.yml").read_text()
    missing = [name_of(page) for page in DOCS if f": {name_of(page)[5:]}\n" not in navigation]
    assert not missing


@pytest.mark.parametrize("page", [ROOT / "README.md", ROOT / "CONTRIBUTING.md"], ids=name_of)
def test_links_from_the_root_lead_to_files(page):
    targets = re.findall(r"\]\(([^)#\s]+)", page.read_text())
    missing = [each for each in targets if ":" not in each and not (ROOT / each).exists()]
    assert not missing
