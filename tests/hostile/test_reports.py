"""Reports from strangers: no script, formula or control character reaches a reader; damage is one line."""

import contextlib
import copy
import html.parser
import json
import random

import numpy as np
import pytest

from tfdefense.errors import UserError
from tfdefense.evaluation import Report
from tfdefense.evaluation.checks.check import CheckResult
from tfdefense.evaluation.report.comparison import compare_runs
from tfdefense.evaluation.result import ResultRow
from tfdefense.evaluation.suspicion_findings import SuspicionFinding
from tfdefense.training.run_directory import RunDirectory

ATTACKS = (
    "<script>alert(1)</script>",
    "<img src=x onerror=alert(1)>",
    "[text](javascript:alert(1))",
    "=cmd()",
    "\x1b[31mred",
    "\u202eetirw",
    "gr\udcfcn",
    "line\nbreak | $x$ \\input{/etc/passwd} $\\frac$",
)


@pytest.fixture(scope="module")
def report():
    """A report of one attack, made without a model."""
    correct = np.arange(24) < 20

    def row(defense, attack, threat_model):
        return ResultRow.from_correct(
            correct,
            dataset="toy",
            classifier="small",
            defense=defense,
            trained_with="none",
            attack=attack,
            epsilon=0.0 if attack == "none" else 0.3,
            threat_model=threat_model,
            seconds=1.0,
            clean_accuracy=1.0,
            success=0.5,
        )

    rows = [row("none", "none", "none"), row("apeganpp", "none", "none")]
    for attack in ("fgsm", "worst_case"):
        rows.append(row("none", attack, "white_box"))
        rows += [row("apeganpp", attack, name) for name in ("grey_box", "white_box")]
    checks = (CheckResult("a check", passed=False, verdict="a verdict"),)
    suspicion = (
        SuspicionFinding("none", "none", 24, 1.0, None, None, None, 0.01, 0.0, 50),
        SuspicionFinding("fgsm", "white_box", 24, 20 / 24, 0.9, 0.8, 1.0, 0.5, 0.1, 50),
    )
    return Report(tuple(rows), ("FGSM(epsilon=0.3)",), checks, ("a note",), suspicion=suspicion)


def _runs(tmp_path, report, change):
    """Return the run directories of two reports, the first one changed as JSON."""
    content = json.loads(report.to_json())
    runs = []
    for name in ("one", "two"):
        (tmp_path / name).mkdir(exist_ok=True)
        changed = copy.deepcopy(content)
        for row in _list(changed, "rows") if name == "two" else ():
            if isinstance(row, dict) and row.get("defense") == "apeganpp":
                row["defense"] = "other"
        changed = change(changed)
        (tmp_path / name / "report.json").write_text(json.dumps(changed))
        runs.append(RunDirectory(tmp_path / name, "compare"))
    return runs


def _list(content, key):
    return content.get(key) if isinstance(content.get(key), list) else []


@pytest.mark.parametrize("text", ATTACKS)
def test_texts_of_a_report_are_harmless_in_every_format(report, tmp_path, text):
    def change(content):
        content["notes"] = [text]
        for check in content["sanity"]:
            check.update(name=text, passed=False, verdict=text)
        for row in content["rows"]:
            row.update(dataset=text, classifier=text)
            row["attack"] = text if row["attack"] == "fgsm" else row["attack"]
        return content

    compare_runs(_runs(tmp_path, report, change)).save(tmp_path / "out")
    pages = {path.suffix: path.read_text() for path in (tmp_path / "out").glob("comparison.*[!g]")}
    assert set(pages) == {".md", ".html", ".tex", ".csv"}
    for suffix, page in pages.items():
        assert "\x1b" not in page, suffix
        assert "\u202e" not in page, suffix
    for suffix in (".md", ".html"):
        assert "<script" not in pages[suffix]
        assert "<img src=x" not in pages[suffix]
    assert "](javascript" not in pages[".md"]
    assert "\\input{" not in pages[".tex"]
    for line in pages[".csv"].splitlines():
        assert not line.startswith(("=", "\x1b"))
        assert ",=" not in line


class _Elements(html.parser.HTMLParser):
    """The elements and attributes of a page, as a browser sees them."""

    def __init__(self, page):
        super().__init__()
        self.found = set()
        self.feed(page)

    def handle_starttag(self, tag, attributes):
        self.found |= {tag, *(f"{tag} {name}" for name, _ in attributes)}
        self.found |= {
            f"link {value}" for name, value in attributes if name in ("href", "src") and value
        }


@pytest.mark.slow
def test_a_page_with_texts_from_outside_has_no_other_elements(report, tmp_path):
    def pages(text):
        def change(content):
            content["notes"] = [text]
            for row in content["rows"]:
                row.update(dataset=text, classifier=text)
            return content

        directory = tmp_path / str(len(text))
        directory.mkdir()
        compare_runs(_runs(directory, report, change)).save(directory / "out")
        return [
            _Elements((directory / "out" / name).read_text()).found
            for name in ("comparison.html", "comparison.svg")
        ]

    for harmless, hostile in zip(pages("a text"), pages(" ".join(ATTACKS)), strict=True):
        hostile = {each for each in hostile if "base64" not in each}
        harmless = {each for each in harmless if "base64" not in each}
        assert hostile <= harmless
        assert not {each for each in hostile if each.startswith(("script", "link javascript"))}


def _damage(value, rng):
    """Return a JSON value with one random part replaced or removed."""
    if isinstance(value, dict | list) and value and rng.random() < 0.85:
        keys = list(value) if isinstance(value, dict) else range(len(value))
        key = rng.choice(list(keys))
        if rng.random() < 0.1:
            del value[key]
        else:
            value[key] = _damage(value[key], rng)
        return value
    return rng.choice([None, True, -1, 1.5, 10**18, "text", [], {}, ["x"], {"x": 1}, "\ud800"])


@pytest.mark.slow
def test_every_damage_of_a_report_is_one_line(report, tmp_path):
    rng = random.Random(0)
    refused = 0
    for _ in range(100):

        def change(content):
            return _damage(content, rng)

        with contextlib.suppress(UserError):
            refused += 1
            comparison = compare_runs(_runs(tmp_path, report, change))
            comparison.table()
            comparison.page()
            refused -= 1
    assert refused > 20
