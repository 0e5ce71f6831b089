import dataclasses

import pytest

from tfdefense.evaluation.report import comparison_figure, gallery, report_figures
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


@pytest.fixture
def drawn(monkeypatch):
    """List of the figures that are saved; no file is written."""
    figures = []
    for module in (comparison_figure, gallery, report_figures):
        monkeypatch.setattr(module, "save_figure", lambda figure, _: figures.append(figure))
    return figures


def with_names(report, **names):
    """Return a report whose rows have other names; the defence "none" keeps its name."""
    rows = []
    for row in report.rows:
        fields = {k: v for k, v in names.items() if k != "defense" or row.defense != "none"}
        rows.append(dataclasses.replace(row, **fields))
    return dataclasses.replace(report, rows=tuple(rows))


def with_accuracies(report, first):
    """Return a report whose rows have different accuracies: `first`, `first` + 1, ... percent."""
    rows = [
        dataclasses.replace(row, accuracy=(first + number) / 100)
        for number, row in enumerate(report.rows)
    ]
    return dataclasses.replace(report, rows=tuple(rows))
