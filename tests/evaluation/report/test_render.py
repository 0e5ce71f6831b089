"""Reports as a person meets them: in a browser, and beside each other."""

import dataclasses
import re
import shutil
import subprocess

import pytest

from tfdefense.attacks import BIM
from tfdefense.errors import UserError
from tfdefense.evaluation import Report, evaluate
from tfdefense.evaluation.protocol import save_report
from tfdefense.evaluation.report.comparison import Comparison, compare_runs
from tfdefense.evaluation.report.render import to_html, to_markdown
from tfdefense.training.run_directory import RunDirectory


@pytest.fixture
def saved(report, tmp_path):
    from tfdefense.utils.figures import save_figure, subplots

    figure, _ = subplots(1, 1, (4, 3))
    save_figure(figure, tmp_path / "gallery.png")
    save_report(report, RunDirectory(tmp_path))
    return tmp_path


def test_a_browser_shows_the_report(saved, report):
    browser = next(
        filter(
            None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome", "chrome"))
        ),
        None,
    )
    if browser is None:
        pytest.skip("no Chromium here to open report.html in")
    page = saved / "moved" / "report.html"
    page.parent.mkdir()
    shutil.move(saved / "report.html", page)  # It needs nothing that lies beside it.
    script = (
        "<script>document.title = [...document.images].map(i => i.naturalWidth).join()</script>"
    )
    page.write_text(page.read_text().replace("</body>", script + "</body>"))
    command = [browser, "--headless", "--no-sandbox", "--disable-gpu", "--virtual-time-budget=5000"]
    shown = subprocess.run(
        [*command, "--dump-dom", f"file://{page}"], capture_output=True, text=True, timeout=120
    )
    widths = re.search("<title>(.*?)</title>", shown.stdout)[1].split(",")
    assert len(widths) == 3
    assert all(int(width) > 300 for width in widths), "a picture is not inside"
    assert shown.stdout.count("<table>") == to_markdown(report).count("| --- |\n") > 3


def test_html_tells_what_markdown_tells(saved, report):
    page = to_html(report, saved, ("gallery",))
    for row in report.rows:
        assert (
            f"{row.accuracy:.1%} [{100 * row.ci_low:.1f}, {100 * row.ci_high:.1f}] n={row.n}"
            in page
        )
    assert 'src="data:image/png;base64,' in page
    assert not re.search(r'(src|href)="(?!data:)', page)


def test_a_saved_report_is_read_again(saved, report):
    again = Report.from_json((saved / "report.json").read_text())
    assert again.rows == report.rows
    assert again.failures == report.failures


def renamed(report, **fields):
    rows = tuple(
        dataclasses.replace(
            row, **{k: v for k, v in fields.items() if k != "defense" or row.defense != "none"}
        )
        for row in report.rows
    )
    return dataclasses.replace(report, rows=rows)


def test_comparison_keeps_every_grey_box_beside_its_white_box(report, tmp_path):
    other = renamed(report, defense="other")
    comparison = Comparison({"apeganpp": report, "other": other})
    header, *lines = comparison.table()
    assert header[1:] == [
        "undefended",
        *(f"{name}, {box}" for name in ("apeganpp", "other") for box in ("grey box", "white box")),
    ]
    assert lines[0][0] == "none (clean)"
    assert lines[-1][0] == "worst_case 0.3"
    assert [line[2:4] for line in lines] == [line[4:6] for line in lines]
    comparison.save(tmp_path / "compared")
    assert (tmp_path / "compared" / "comparison.png").stat().st_size > 5_000
    rows = (tmp_path / "compared" / "comparison.csv").read_text().splitlines()
    assert len(rows) == 1 + 2 * len(report.rows)


def test_worst_cases_over_other_attacks_have_a_line_of_their_own(report, defense, toy_split):
    other = renamed(evaluate(defense, toy_split, [BIM(epsilon=0.3)], 9), defense="other")
    comparison = Comparison({"apeganpp": report, "other": other})
    lines = {line[0]: line[1:] for line in comparison.table()}
    both, alone = (
        lines[f"worst_case 0.3 ({over})"] for over in ("bim, fgsm, fgsm_predicted", "bim")
    )
    assert both[3:] == alone[1:3] == ["-", "-"]
    assert alone[0] == lines["bim 0.3"][0]


def test_seeds_in_directories_of_one_name_are_all_compared(report, tmp_path):
    runs = [RunDirectory(tmp_path / f"seed{seed}" / "mnist") for seed in range(3)]
    for run in runs:
        run.path.mkdir(parents=True)
        (run.path / "report.json").write_text(report.to_json())
    assert len(compare_runs(runs).reports) == 3
    with pytest.raises(UserError, match=r"seed2/mnist: given more than once"):
        compare_runs([*runs, runs[2]])


@pytest.mark.parametrize("what", ["classifier", "images"])
def test_others_of_the_same_name_are_not_compared(report, what):
    assert set(report.fingerprints) == {"classifier", "images"}
    assert Report.from_json(report.to_json()).fingerprints == report.fingerprints
    other = dataclasses.replace(report, fingerprints={**report.fingerprints, what: "another"})
    with pytest.raises(UserError, match=f"are of {what} of the same name, yet not the same"):
        Comparison({"one": report, "other": other})


def test_what_cannot_be_compared_is_named(report, tmp_path):
    with pytest.raises(UserError, match="apeganpp is of dataset toy, other of mnist"):
        Comparison({"apeganpp": report, "other": renamed(report, dataset="mnist")})
    with pytest.raises(UserError, match="apeganpp is of classifier toy, other of lenet"):
        Comparison({"apeganpp": report, "other": renamed(report, classifier="lenet")})
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "report.json").write_text("{}")
    with pytest.raises(UserError, match=r"report.json: damaged, or of another version"):
        compare_runs([RunDirectory(tmp_path / name) for name in ("a", "b")])
