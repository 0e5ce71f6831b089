"""What docs/results/index.md says of the tables is what results/ holds."""

import csv
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
REPORT = (ROOT / "docs/results/index.md").read_text()
PAPERS = sorted(path.parent for path in (ROOT / "results").glob("*/made.json"))


def rows(text):
    return [line for line in text.splitlines() if line.startswith("| [")]


@pytest.mark.parametrize("paper", PAPERS, ids=lambda path: path.name)
def test_means_are_the_index_s(paper):
    of_index = rows((paper / "README.md").read_text())
    expected = [row.replace("](", f"](../../results/{paper.name}/", 1) for row in of_index]
    reported = [row for row in rows(REPORT) if f"../../results/{paper.name}/" in row]
    assert reported == expected
    assert reported


def test_it_says_how_far_the_tables_are():
    tables = [path for paper in PAPERS for path in paper.glob("*.csv")]
    figures = [row for path in tables for row in csv.DictReader(path.open())]
    measured = sum(bool(row["ours_percent"]) for row in figures)
    said = re.search(r"(\d+) of 488 figures are measured", REPORT)
    assert int(said.group(1)) == measured
