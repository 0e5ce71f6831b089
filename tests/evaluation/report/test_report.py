import csv
import dataclasses
import io
import json

import pytest

from tfdefense.evaluation import Report
from tfdefense.evaluation.threat_models import THREAT_MODELS

ROW_FIELDS = [
    *("dataset", "classifier", "defense", "trained_with", "attack", "epsilon", "threat_model"),
    *("accuracy", "n", "ci_low", "ci_high", "seconds", "clean_accuracy", "success"),
    *("l1", "l2", "linf", "left_l1", "left_l2", "left_linf"),
]
KEYS = [
    *("schema", "summary", "rows", "sanity", "attacks", "notes", "settings", "restored"),
    *("detections", "curve", "check_effort", "surrogates", "fingerprints", "largest_class"),
    *("suspicion", "made_with"),
]


@pytest.mark.slow
def test_json_has_the_schema_that_others_rely_on(report):
    content = json.loads(report.to_json())
    assert list(content) == KEYS
    assert content["schema"] == 1
    for row in content["rows"]:
        assert list(row) == ROW_FIELDS
        assert row["threat_model"] in ("none", *THREAT_MODELS)
        assert 0 <= row["ci_low"] <= row["ci_high"] <= 1
    for check in content["sanity"]:
        assert list(check) == ["name", "passed", "verdict"]
    for recovery in content["restored"]:
        assert list(recovery) == [
            *("attack", "restored", "n", "ci_low", "ci_high", "white_box", "white_box_n")
        ]


def test_worst_cases_of_different_radii_have_separate_lines(report):
    """The black box has its own radius if the attacks have none in a norm that it can use."""
    rows = [
        dataclasses.replace(row, threat_model="black_box", epsilon=0.1)
        for row in report.rows
        if row.attack == "worst_case" and row.threat_model == "white_box"
    ]
    found = dataclasses.replace(report, rows=(*report.rows, *rows))
    header, *lines = found.table()
    black_box = ["black box" in title for title in header[1:]]
    assert any(black_box)
    for title, is_own in (("worst_case 0.3", False), ("worst_case 0.1", True)):
        (cells,) = (line[1:] for line in lines if line[0] == title)
        assert [cell != "-" for cell in cells] == [each == is_own for each in black_box]
    assert Report.from_json(found.to_json()).table() == found.table()


def test_a_row_without_a_column_is_an_error(report):
    row = dataclasses.replace(report.rows[-1], attack="pgd", threat_model="unknown")
    with pytest.raises(ValueError, match=r"^pgd 0.3: a row without a column$"):
        dataclasses.replace(report, rows=(*report.rows, row)).table()


def test_report_is_read_back_from_its_json(report):
    again = Report.from_json(report.to_json())
    for name in (
        *("rows", "checks", "recoveries", "curve", "settings", "notes", "fingerprints"),
        "largest_class",
    ):
        assert getattr(again, name) == getattr(report, name)


def test_csv_has_every_row_with_every_field(report):
    lines = list(csv.DictReader(io.StringIO(report.to_csv())))
    assert list(lines[0]) == ROW_FIELDS
    assert [float(line["accuracy"]) for line in lines] == [row.accuracy for row in report.rows]
