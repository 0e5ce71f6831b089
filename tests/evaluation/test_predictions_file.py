"""`predictions.npz` is read back as a table; damaged and hostile files are one line."""

import csv
import io

import numpy as np
import pytest

from tfdefense.errors import UserError
from tfdefense.evaluation import load_predictions
from tfdefense.evaluation.per_image_results import PerImageResults, ResultKey
from tfdefense.evaluation.predictions_file import save_predictions
from tfdefense.utils import untrusted_file

KEY, WORST = ("none", "pgd", "white_box"), ("none", "worst_case", "white_box")
LABELS = np.array([0, 1, 2, 0], np.int32)
NORMS = np.arange(12, dtype=np.float32).reshape(4, 3)


@pytest.fixture
def path(tmp_path):
    """A file with clean images, one attack on the first three, and a worst case."""
    clean = PerImageResults(np.array([0, 1, 2, 2], np.int32), np.zeros((4, 3), np.float32))
    attacked = PerImageResults(
        predicted=np.array([0, -1, 1], np.int32),
        perturbation=NORMS[:3],
        changed_pixels=np.array([4, 5, 6], np.int32),
        queries=np.array([7, 8, 9], np.int32),
        gradients=np.array([1, 2, 3], np.int32),
        surrogate=np.array([-1, -1, 1], np.int32),
        surrogates=np.array(["leaky", "softplus"]),
    )
    worst = PerImageResults(
        predicted=attacked.predicted,
        perturbation=attacked.perturbation,
        attacks=np.array(["none", "pgd"]),
        fooled_by=np.array([-1, 0, 1], np.int32),
    )
    rows = {"none/none/none": clean, "/".join(KEY): attacked, "/".join(WORST): worst}
    save_predictions(tmp_path / "predictions.npz", LABELS, rows)
    return tmp_path / "predictions.npz"


def rewrite(path, **arrays):
    """Replace arrays of the file; None removes one."""
    with np.load(path) as file:
        content = {**file, **{name.replace("__", "/"): each for name, each in arrays.items()}}
    np.savez(path, **{name: each for name, each in content.items() if each is not None})


def test_rows_are_typed_tables(path):
    predictions = load_predictions(path.parent)
    assert list(predictions) == [ResultKey("none", "none", "none"), KEY, WORST]
    np.testing.assert_array_equal(predictions.labels, LABELS)
    row = predictions[KEY]
    assert len(row) == 3
    assert row.correct.tolist() == [True, True, False], "a refused image counts as correct"
    columns = row.columns()
    assert columns["label"].tolist() == [0, 1, 2]
    assert columns["fooled_by"].tolist() == ["", "", "pgd"]
    assert columns["surrogate"].tolist() == ["", "", "softplus"]
    assert columns["l0"].tolist() == [4, 5, 6]
    assert columns["linf"].tolist() == [2.0, 5.0, 8.0]
    assert columns["queries"].dtype == np.int32
    assert columns["left_l2"] is None
    assert columns["counted"].all()
    assert predictions[WORST].fooled_by.tolist() == ["", "none", "pgd"]
    assert predictions["none", "none", "none"].fooled_by.tolist() == ["", "", "", "none"]


def test_a_refused_image_is_correct_only_if_it_is_attacked(path):
    refused = PerImageResults(np.array([0, -1, 1], np.int32), NORMS[:3])
    keys = [ResultKey("magnet", "none", "none"), ResultKey("magnet", "pgd", "grey_box")]
    save_predictions(path, LABELS, {str(key): refused for key in keys})
    clean, attacked = (load_predictions(path)[key] for key in keys)
    assert clean.correct.tolist() == [True, False, False]
    assert attacked.correct.tolist() == [True, True, False]
    assert clean.fooled_by.tolist() == ["", "none", "none"]
    assert attacked.fooled_by.tolist() == ["", "", "pgd"]


def test_records_are_plain_values(path):
    records = load_predictions(path).to_records()
    assert len(records) == 4 + 3 + 3
    assert records[6] == {
        **{"defense": "none", "attack": "pgd", "threat_model": "white_box", "image": 2},
        **{"label": 2, "predicted": 1, "correct": False, "fooled_by": "pgd"},
        **{"surrogate": "softplus", "l0": 6, "l1": 6.0, "l2": 7.0, "linf": 8.0},
        **{"left_l1": None, "left_l2": None, "left_linf": None, "change": None},
        **{"disagreement": None, "queries": 9, "gradients": 3, "excess": None, "counted": True},
    }
    text = io.StringIO()
    writer = csv.DictWriter(text, records[0])
    writer.writeheader()
    writer.writerows(records)
    assert (
        "none,pgd,white_box,2,2,1,False,pgd,softplus,6,6.0,7.0,8.0,,,,,,9,3,,True"
        in text.getvalue()
    )


def test_a_file_of_schema_1_opens(path):
    name = "/".join(KEY)
    new = ("changed_pixels", "queries", "gradients", "surrogate", "surrogates")
    removed = {f"{name}/{field}": None for field in new}
    rewrite(path, schema=None, **removed)
    columns = load_predictions(path)[KEY].columns()
    assert columns["l1"].tolist() == [0.0, 3.0, 6.0]
    assert [columns[each] for each in ("l0", "queries", "gradients", "surrogate")] == [None] * 4


PREDICTED = "none__pgd__white_box__predicted"


@pytest.mark.parametrize(
    ("arrays", "reason"),
    [
        ({"labels": None}, "labels missing"),
        ({"labels": np.array(LABELS, object)}, "labels holds Python objects"),
        ({"labels": LABELS.astype(float)}, r"labels is float64 \[4\], integer \[4\] needed"),
        ({"labels": LABELS[None]}, r"labels is \[1, 4\]"),
        ({"labels": -1 - LABELS}, "labels has values out of range"),
        ({"labels": LABELS[:2]}, r"none/none/none/predicted is \[4\]"),
        ({"schema": np.array(3)}, "schema is 3, at most 2 is known"),
        ({"schema": np.array("two")}, "schema is <U3"),
        ({PREDICTED: None}, "none/pgd/white_box/predicted missing"),
        ({PREDICTED: np.zeros(5, np.int32)}, r"none/pgd/white_box/predicted is \[5\]"),
        ({PREDICTED: np.zeros((), np.int32)}, r"none/pgd/white_box/predicted is \[\]"),
        (
            {PREDICTED: np.zeros(2, np.int32)},
            r"is float32 \[3, 3\], floating point \[2, 3\] needed",
        ),
        ({"none__pgd__white_box__perturbation": NORMS[:3] * np.nan}, "perturbation has values out"),
        ({"none__pgd__white_box__surrogate": np.full(3, 2, np.int32)}, "indices beyond its surrog"),
        ({"none__worst_case__white_box__attacks": None}, "indices beyond its attacks"),
        (
            {"none__worst_case__white_box__attacks": np.zeros(2)},
            r"float64 \[2\], text \[2\] needed",
        ),
        ({"none__worst_case__white_box__attacks": np.zeros(9, "<U99999")}, "attacks is too long"),
        ({"none__worst_case__white_box__attacks": np.array("pgd")}, r"<U3 \[\], text \[1\] needed"),
        ({"none__pgd__white_box__surrogates": np.array("x")}, r"<U1 \[\], text \[1\] needed"),
        ({"surprise": LABELS}, "surprise unknown"),
        ({"none__pgd__white_box__surprise": LABELS}, "none/pgd/white_box/surprise unknown"),
    ],
)
def test_an_unsuitable_file_is_one_line(path, arrays, reason):
    rewrite(path, **arrays)
    with pytest.raises(UserError, match=rf"predictions\.npz: .*{reason}.*bin/evaluate") as error:
        load_predictions(path)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("length", [0, 100, -10])
def test_a_truncated_file_is_one_line(path, length):
    path.write_bytes(path.read_bytes()[:length])
    with pytest.raises(UserError, match=r"predictions\.npz: damaged\. Make the report again"):
        load_predictions(path)


def test_an_archive_that_unfolds_to_far_more_is_refused(path, monkeypatch):
    monkeypatch.setattr(untrusted_file, "_UNFOLDED_BYTES", 1_000)
    monkeypatch.setattr(untrusted_file, "_UNFOLDED_RATIO", 1)
    zeros = np.zeros((100_000,), np.int32)
    np.savez_compressed(path, labels=zeros)
    with pytest.raises(UserError, match=r"predictions.npz: .* bytes that unfold to 400,"):
        load_predictions(path)


def test_a_missing_file_is_one_line(tmp_path):
    with pytest.raises(UserError, match=r"predictions\.npz: no such file\. bin/evaluate writes"):
        load_predictions(tmp_path)


@pytest.mark.slow
def test_the_file_of_a_report_has_costs_and_worst_cases(report, tmp_path):
    results = {**report.per_image, **report.worst_cases}
    save_predictions(tmp_path / "predictions.npz", report.labels, results)
    predictions = load_predictions(tmp_path)
    assert len(predictions) == len(report.rows)
    for row in report.rows:
        table = predictions[row.defense, row.attack, row.threat_model]
        assert len(table) == row.n
        assert table.correct.mean() == pytest.approx(row.accuracy)
        columns = table.columns()
        if row.attack == "none":
            assert columns["queries"] is None
        elif row.attack == "bim":
            assert columns["gradients"].max() > 1
        elif row.attack == "worst_case":
            assert set(columns["fooled_by"]) <= {"", "none", "fgsm", "fgsm_predicted", "bim"}
            np.testing.assert_array_equal(columns["fooled_by"] == "", table.correct)
        if row.attack not in ("none", "worst_case"):
            assert columns["linf"].max() <= 0.3 + 1e-5
            assert columns["l0"].dtype == np.int32
