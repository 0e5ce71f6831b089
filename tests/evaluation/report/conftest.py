import dataclasses

import pytest

from tfdefense.evaluation.report.report_files import save_report
from tfdefense.training.run_directory import RunDirectory
from tfdefense.utils.figures import save_figure, subplots


@pytest.fixture
def saved(report, tmp_path):
    """Directory with all files of a report; its gallery is an empty figure."""
    figure, _ = subplots(1, 1, (4, 3))
    save_figure(figure, tmp_path / "gallery.png")
    save_report(report, RunDirectory(tmp_path))
    return tmp_path


def with_names(report, **names):
    """Return a report whose rows have other names; the defence "none" keeps its name."""
    rows = []
    for row in report.rows:
        fields = {k: v for k, v in names.items() if k != "defense" or row.defense != "none"}
        rows.append(dataclasses.replace(row, **fields))
    return dataclasses.replace(report, rows=tuple(rows))
