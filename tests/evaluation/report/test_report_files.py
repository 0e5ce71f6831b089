import re
import shutil
import subprocess

import numpy as np
import pytest

from tfdefense.evaluation import Report
from tfdefense.evaluation.report.render import to_markdown

BROWSERS = ("chromium", "chromium-browser", "google-chrome", "chrome")


def test_directory_has_all_files(saved):
    names = {path.name for path in saved.iterdir()}
    assert {f"report.{suffix}" for suffix in ("md", "html", "csv", "tex", "json")} <= names
    for name in ("gallery", "epsilon", "perturbations"):
        assert {f"{name}.png", f"{name}.svg"} <= names
    assert "roc.png" not in names


def test_predictions_have_every_result(saved, report):
    with np.load(saved / "predictions.npz") as file:
        np.testing.assert_array_equal(file["labels"], report.labels)
        for key, results in report.per_image.items():
            np.testing.assert_array_equal(file[f"{key}/predicted"], results.predicted)
            assert file[f"{key}/perturbation"].shape == (len(results), 3)


def test_saved_report_is_read_again(saved, report):
    again = Report.from_json((saved / "report.json").read_text())
    assert again.rows == report.rows
    assert again.failed_checks == report.failed_checks


@pytest.mark.slow
def test_browser_shows_all_pictures_and_tables(saved, report):
    browser = next(filter(None, map(shutil.which, BROWSERS)), None)
    if browser is None:
        pytest.skip("no Chromium here to open report.html in")
    page = saved / "moved" / "report.html"
    page.parent.mkdir()
    shutil.move(saved / "report.html", page)  # It needs no other file.
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
    assert all(int(width) > 300 for width in widths), "a picture is missing"
    tables = len(re.findall(r"^\|-", to_markdown(report), re.MULTILINE))
    assert shown.stdout.count("<table>") == tables > 3
