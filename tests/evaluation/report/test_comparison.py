import csv
import dataclasses
from collections import Counter

import pytest
from PIL import Image

from tests.evaluation.report.conftest import with_accuracies, with_names
from tests.reports import evaluate_without_checks
from tfdefense.attacks import BIM
from tfdefense.errors import UserError
from tfdefense.evaluation import Report
from tfdefense.evaluation.report.comparison import Comparison, compare_runs
from tfdefense.training.run_directory import RunDirectory


def test_comparison_keeps_every_grey_box_next_to_its_white_box(report, tmp_path):
    ours, theirs = (
        with_accuracies(with_names(report, defense=name), first)
        for name, first in (("apeganpp", 10), ("other", 50))
    )
    comparison = Comparison({"apeganpp": ours, "other": theirs})
    header, *lines = comparison.table()
    assert header[1:] == [
        "undefended",
        *(f"{name}, {box}" for name in ("apeganpp", "other") for box in ("grey box", "white box")),
    ]
    attacks = ("none", "fgsm", "fgsm_predicted", "bim", "worst_case")
    assert [line[0] for line in lines] == ["none (clean)", *(f"{each} 0.3" for each in attacks[1:])]
    for attack, (_, *cells) in zip(attacks, lines, strict=True):
        boxes = ["none"] * 2 if attack == "none" else ["grey_box", "white_box"]
        rows = [ours.row("none", attack, boxes[1])]
        rows += [ours.row("apeganpp", attack, box) for box in boxes]
        rows += [theirs.row("other", attack, box) for box in boxes]
        assert [cell.split()[0] for cell in cells] == [f"{row.accuracy:.1%}" for row in rows]
    comparison.save(tmp_path / "compared")
    suffixes = ("csv", "html", "md", "png", "svg", "tex")
    names = [path.name for path in sorted((tmp_path / "compared").iterdir())]
    assert names == [f"comparison.{suffix}" for suffix in suffixes]
    with Image.open(tmp_path / "compared" / "comparison.png") as picture:
        assert min(picture.size) > 300
    with (tmp_path / "compared" / "comparison.csv").open() as file:
        named = Counter(row["report"] for row in csv.DictReader(file))
    assert named == {"apeganpp": len(report.rows), "other": len(report.rows)}


def test_names_are_escaped_in_html(report, tmp_path):
    script = "<script>alert(1)</script>"
    reports = {script: report, "other": with_names(report, defense="other")}
    Comparison(reports).save(tmp_path)
    page = (tmp_path / "comparison.html").read_text()
    assert script not in page
    assert "&lt;script&gt;alert(1)&lt;/script&gt;, white box" in page


def test_worst_cases_over_different_radii_have_separate_lines(report):
    rows = [
        dataclasses.replace(row, epsilon=0.1) if row.attack == "fgsm" else row
        for row in with_names(report, defense="other").rows
    ]
    other = dataclasses.replace(report, rows=tuple(rows))
    lines = {line[0]: line[1:] for line in Comparison({"one": report, "other": other}).table()}
    worst = {title: cells for title, cells in lines.items() if title.startswith("worst_case")}
    ours, theirs = (
        f"worst_case 0.3 (bim, fgsm {epsilon}, fgsm_predicted)" for epsilon in (0.3, 0.1)
    )
    assert set(worst) == {ours, theirs}
    assert worst[ours][3:] == worst[theirs][1:3] == ["-", "-"]
    assert "-" not in worst[ours][:3] + worst[theirs][3:]


@pytest.mark.parametrize("path", ["file", "file/folder"])
def test_a_file_in_place_of_the_output_is_named(report, path, tmp_path):
    (tmp_path / "file").write_text("text")
    comparison = Comparison({"one": report, "other": with_names(report, defense="other")})
    with pytest.raises(UserError, match=r"^--output=.*file.*: .* is a file. Name a directory.$"):
        comparison.save(tmp_path / path)
    assert (tmp_path / "file").read_text() == "text"


@pytest.mark.slow
def test_worst_cases_over_different_attacks_have_separate_lines(report, defense, toy_split):
    alone = evaluate_without_checks(defense, toy_split, [BIM(epsilon=0.3)], 9)
    other = with_names(alone, defense="other")
    comparison = Comparison({"apeganpp": report, "other": other})
    lines = {line[0]: line[1:] for line in comparison.table()}
    both, alone = (
        lines[f"worst_case 0.3 ({attacks})"] for attacks in ("bim, fgsm, fgsm_predicted", "bim")
    )
    assert both[3:] == alone[1:3] == ["-", "-"]
    assert alone[0] == lines["bim 0.3"][0]


def test_runs_in_directories_of_one_name_are_all_compared(report, tmp_path):
    runs = [RunDirectory(tmp_path / f"seed{seed}" / "mnist") for seed in range(3)]
    for run in runs:
        run.path.mkdir(parents=True)
        (run.path / "report.json").write_text(report.to_json())
    assert len(compare_runs(runs).reports) == 3
    again = RunDirectory(runs[0].path.parent / ".." / "seed0" / "mnist")
    for path in (runs[0], again):
        with pytest.raises(UserError, match=r"seed0/mnist: given more than once"):
            compare_runs([runs[0], path])
    with pytest.raises(UserError, match=r"seed2/mnist: given more than once"):
        compare_runs([*runs, runs[2]])


def test_a_link_to_itself_is_no_run(tmp_path):
    (tmp_path / "run").symlink_to("run")
    with pytest.raises(UserError, match="run: no such run directory"):
        compare_runs([RunDirectory(tmp_path / "run")])


@pytest.mark.parametrize("name", ["classifier", "images", "images_10", "images_24"])
def test_reports_on_others_of_the_same_name_are_not_compared(report, name):
    assert set(report.fingerprints) == {"classifier", "images", "images_10", "images_24"}
    assert Report.from_json(report.to_json()).fingerprints == report.fingerprints
    other = dataclasses.replace(report, fingerprints={**report.fingerprints, name: "another"})
    with pytest.raises(
        UserError, match=f"have different {name.partition('_')[0]} of the same name"
    ):
        Comparison({"one": report, "other": other})


def test_transfer_rows_from_different_sources_are_not_compared(report):
    first, second = (
        dataclasses.replace(report, fingerprints={**report.fingerprints, "source": name})
        for name in ("one", "another")
    )
    Comparison({"one": first, "none": report})
    with pytest.raises(UserError, match="transfer rows from different --source classifiers"):
        Comparison({"one": first, "other": second})


def test_reports_on_more_and_on_fewer_of_the_same_images_are_compared(report):
    fewer = {name: report.fingerprints[name] for name in ("classifier", "images")}
    Comparison({"one": report, "other": dataclasses.replace(report, fingerprints=fewer)})


def test_a_report_that_counts_only_fooling_images_is_compared_with_its_like(report):
    fooled = dataclasses.replace(report, settings={"fooled_only": True})
    Comparison({"one": fooled, "other": fooled})
    with pytest.raises(UserError, match=r"other counts only .* \(--fooled_only\), one counts all"):
        Comparison({"one": report, "other": fooled})


def test_a_note_that_not_all_reports_have_names_its_report(report):
    plain = dataclasses.replace(report, notes=("Of both.",))
    both = dataclasses.replace(report, notes=("Of both.", "Of one."))
    terms = Comparison({"one": plain, "other": both}).page().sections[-1].terms
    assert [(term.name, term.text) for term in terms[2:]] == [
        ("", "Of both."),
        ("other", "Of one."),
    ]


def test_reports_that_cannot_be_compared_are_named(report, tmp_path):
    with pytest.raises(UserError, match="apeganpp has dataset toy, other has mnist"):
        Comparison({"apeganpp": report, "other": with_names(report, dataset="mnist")})
    with pytest.raises(UserError, match="apeganpp has classifier toy, other has lenet"):
        Comparison({"apeganpp": report, "other": with_names(report, classifier="lenet")})
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "report.json").write_text("{}")
    with pytest.raises(UserError, match=r"report.json: damaged, or written by another version"):
        compare_runs([RunDirectory(tmp_path / name) for name in ("a", "b")])


def test_every_pair_of_reports_is_compared(report):
    """A report without a fingerprint may stand beside each of two others that do not fit together."""
    plain, first, second = (
        dataclasses.replace(with_names(report, defense=name), fingerprints=fingerprints)
        for name, fingerprints in (
            ("plain", {}),
            ("first", {"source": "2-" + "a" * 32}),
            ("second", {"source": "2-" + "b" * 32}),
        )
    )
    Comparison({"plain": plain, "first": first})
    with pytest.raises(UserError, match="first and second have transfer rows from different"):
        Comparison({"plain": plain, "first": first, "second": second})
