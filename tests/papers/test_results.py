"""Measured results in `results/`, and the page that summarises them."""

import csv
import json
import re
from pathlib import Path

import pytest

from tests.papers.conftest import make_grid, squeeze
from tfdefense.papers.paper import load_paper
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
    records = load_cell_records(load_paper(folder.name), folder)
    budget = json.loads((folder / "made.json").read_text())["budget"]
    cells = [cell for _, cell in make_grid(folder.name, budget=budget).cells if cell.key in records]
    assert {cell.key for cell in cells} == set(records)
    assert len(cells) == sum(bool(row["ours_percent"]) for row in read_figures(folder))
