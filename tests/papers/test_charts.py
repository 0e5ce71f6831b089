"""Charts of the papers' figures and ours, from the JSON files of results folders."""

import json

import numpy as np
import pytest

from tfdefense.errors import UserError
from tfdefense.papers import charts, scatter
from tfdefense.papers.charts import load_measured_figures, save_line_chart
from tfdefense.papers.scatter import save_scatter


def make_entry(defense, attack, paper, ours=None, white_box=None, **changes):
    """Return an entry of a `TABLE.json`; accuracies in percent, of 200 and of 50 images."""
    figure = {
        "paper": "small",
        "table": "2",
        "dataset": "mnist",
        "attacked_classifier": "Net",
        "defense": defense,
        "trained_with": "",
        "attack": attack,
        "accuracy_percent": float(paper),
        **changes,
    }
    if ours is None:
        return {"figure": figure, "cell": None}
    counts = {"ours": {"correct": 2 * ours, "n": 200}, "white_box": None}
    if white_box is not None:
        counts["white_box"] = {"correct": white_box // 2, "n": 50}
    return {"figure": figure, "cell": counts}


TABLE = [
    make_entry("Rounding", "FGSM", 80, 70, 20),
    make_entry("Rounding", "BIM", 60, 50, 10),
    make_entry("none", "FGSM", 30, 10, 10),
    make_entry("none", "BIM", 5),
    make_entry("Rounding", "FGSM", 99, attacked_classifier="Other"),
]


@pytest.fixture
def table(tmp_path):
    """File with a table of two classifiers, of which one is not measured."""
    path = tmp_path / "2.json"
    path.write_text(json.dumps(TABLE))
    return path


@pytest.fixture
def drawn(monkeypatch):
    """List of the figures that are saved."""
    found = []
    for module in (charts, scatter):
        monkeypatch.setattr(module, "save_figure", lambda figure, path: found.append(figure))
    return found


def test_a_line_chart_has_the_papers_accuracies_ours_and_those_in_white_box(table, drawn):
    assert save_line_chart(table)
    (canvas,) = drawn
    paper, ours, white_box = canvas.axes  # One row: the other classifier is not measured.
    values = [{line.get_label(): line.get_ydata() for line in axis.lines} for axis in canvas.axes]
    np.testing.assert_allclose(values[0]["Rounding"], [80, 60])
    np.testing.assert_allclose(values[1]["Rounding"], [70, 50])
    np.testing.assert_allclose(values[2]["Rounding"], [20, 10])
    np.testing.assert_allclose(values[0]["undefended"], [30, 5])
    np.testing.assert_allclose(values[1]["undefended"], [10, np.nan])
    assert [text.get_text() for text in paper.get_xticklabels()] == ["FGSM", "BIM"]
    assert paper.get_ylabel() == "Net, mnist\naccuracy, %"
    assert ours.get_title() == "ours, grey box\nn = 200"
    assert white_box.get_title() == "ours, white box\nn = 50"


def test_classifiers_with_one_line_each_share_a_row(tmp_path, drawn):
    path = tmp_path / "2.json"
    names = [
        {"attacked_classifier": "Net", "trained_with": "Net"},
        {"attacked_classifier": "Other"},
    ]
    entries = [
        make_entry("Rounding" if "trained_with" in name else "none", attack, 50, 40, **name)
        for name in names
        for attack in ("FGSM", "BIM")
    ]
    path.write_text(json.dumps(entries))
    assert save_line_chart(path)
    assert len(drawn[0].axes) == 3
    labels = [line.get_label() for line in drawn[0].axes[0].lines]
    assert labels == ["Net, Rounding with Net", "Other"]


def test_a_table_with_one_attack_has_no_line_chart(tmp_path, drawn):
    path = tmp_path / "1.json"
    path.write_text(json.dumps([TABLE[0], TABLE[2]]))
    assert not save_line_chart(path)
    assert drawn == []


def test_a_line_chart_is_a_png_and_an_svg(table):
    assert save_line_chart(table)
    assert (table.parent / "2-lines.png").read_bytes().startswith(b"\x89PNG")
    assert "Rounding" in (table.parent / "2-lines.svg").read_text()


@pytest.mark.parametrize("content", ["{", "[1]", '[{"figure": {}, "cell": null}]', "{}"])
def test_a_damaged_table_is_an_error(tmp_path, content):
    path = tmp_path / "2.json"
    path.write_text(content)
    with pytest.raises(UserError, match=r"2\.json"):
        load_measured_figures(path)


def save_folder(path, budget="smoke"):
    path.mkdir(parents=True)
    (path / "made.json").write_text(json.dumps({"schema": 1, "budget": budget}))
    (path / "2.json").write_text(json.dumps(TABLE))


def test_the_scatter_has_a_mark_per_measured_figure(small, drawn):
    save_folder(small / "small")
    assert save_scatter(small, "smoke")
    full, zoomed = drawn[0].axes
    marks = np.concatenate([part.get_offsets() for part in full.collections[1:]])
    assert sorted(map(tuple, marks)) == [(30, 10), (60, 50), (80, 70)]
    assert full.get_title() == "3 of 4 figures, n = 200"
    assert zoomed.get_xlim()[0] > 60
    labels = [text.get_text() for text in zoomed.get_legend().get_texts()]
    assert labels == ["within 3 points", "Rounding, 2 figures", "undefended, 1 figure"]
    colors = {
        tuple(part.get_edgecolor()[0]) for part in full.collections[1:] if len(part.get_offsets())
    }
    assert len(colors) == 2


def test_the_scatter_leaves_out_other_budgets_and_damaged_files(small, drawn, capsys):
    save_folder(small / "small")
    assert not save_scatter(small, "cpu")
    (small / "small" / "1.json").write_text("{")
    assert save_scatter(small, "smoke")
    assert "1.json" in capsys.readouterr().out
    (small / "small" / "made.json").write_text("{")
    assert not save_scatter(small, "smoke")
    assert "its marker is damaged" in capsys.readouterr().out
    assert len(drawn) == 1
