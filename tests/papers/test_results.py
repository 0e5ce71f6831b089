"""Measured results in `results/`, and the page that summarises them."""

import csv
import json
import re
from pathlib import Path

import pytest

from tests.papers.conftest import make_grid, squeeze
from tfdefense.papers.paper import load_paper
from tfdefense.papers.recipes import load_recipes
from tfdefense.papers.records import load_cell_records

ROOT = Path(__file__).parents[2]
SUMMARY = (ROOT / "docs/results/index.md").read_text()
PAPERS = sorted(path.parent for path in (ROOT / "results").glob("*/made.json"))


def table_rows(text):
    """Return the rows that begin with a link, without the padding of their cells."""
    return [squeeze(line) for line in text.splitlines() if line.startswith("| [")]


def read_figures(folder):
    return [row for path in sorted(folder.glob("*.csv")) for row in csv.DictReader(path.open())]


@pytest.mark.parametrize("folder", PAPERS, ids=lambda path: path.name)
def test_the_summary_has_the_means_of_the_index(folder):
    index = table_rows((folder / "README.md").read_text())
    expected = [row.replace("](", f"](../../results/{folder.name}/", 1) for row in index]
    found = [row for row in table_rows(SUMMARY) if f"../../results/{folder.name}/" in row]
    assert found == expected
    assert found


def test_the_summary_has_the_number_of_measured_figures():
    figures = [row for folder in PAPERS for row in read_figures(folder)]
    measured = sum(bool(row["ours_percent"]) for row in figures)
    found = re.search(r"(\d+) of 488 figures are measured", SUMMARY)
    assert int(found.group(1)) == measured


@pytest.mark.parametrize("folder", PAPERS, ids=lambda path: path.name)
def test_every_measured_figure_is_found_by_its_key(folder):
    records = load_cell_records(load_paper(folder.name), folder).by_key
    budget = json.loads((folder / "made.json").read_text())["budget"]
    cells = [cell for _, cell in make_grid(folder.name, budget=budget).cells if cell.key in records]
    assert {cell.key for cell in cells} == set(records)
    assert len(cells) == sum(bool(row["ours_percent"]) for row in read_figures(folder))


@pytest.mark.parametrize("folder", PAPERS, ids=lambda path: path.name)
def test_every_key_of_a_record_has_a_recipe(folder):
    recipes = load_recipes(folder / "recipes.json")
    for record in load_cell_records(load_paper(folder.name), folder).by_key.values():
        needed = [record["depends_on"][name] for name in ("classifier", "examples", "defense")]
        assert {key for key in needed if key is not None} <= set(recipes)


def test_the_summary_has_the_numbers_of_near_higher_and_lower_figures():
    figures = [row for folder in PAPERS for row in read_figures(folder) if row["ours_percent"]]
    gaps = [float(row["ours_percent"]) - float(row["accuracy_percent"]) for row in figures]
    near = sum(abs(gap) <= 3 for gap in gaps)
    higher, lower = sum(gap > 3 for gap in gaps), sum(gap < -3 for gap in gaps)
    attacked = sum(
        gap < -3 and row["defense"] == "none" and row["attack"] != "benign"
        for gap, row in zip(gaps, figures, strict=True)
    )
    text = " ".join(SUMMARY.split())
    assert f"{near} are within three points of the paper's, {higher} are higher" in text
    assert f"{lower} lower; {attacked} of the lower ones are undefended" in text


@pytest.mark.parametrize("name", ["docs/results/index.md", "results/deviations.md"])
def test_the_report_is_short_and_its_links_lead_to_files(name):
    page = ROOT / name
    text = page.read_text()
    assert len(text.splitlines()) <= 150
    targets = re.findall(r"\]\(([^)#\s]+)", text)
    assert not [target for target in targets if not (page.parent / target).is_file()]
    assert targets
