import csv
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
