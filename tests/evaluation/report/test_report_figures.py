import dataclasses

import numpy as np

from tfdefense.evaluation.report import report_figures


def test_chance_follows_from_the_classes_of_the_data_not_from_the_labels(
    report, tmp_path, monkeypatch
):
    shown = []
    monkeypatch.setattr(report_figures, "save_figure", lambda figure, _: shown.append(figure))
    few = dataclasses.replace(report, labels=np.zeros(24, np.int32))
    report_figures.save_epsilon_figure(few, tmp_path / "epsilon.png")
    (line,) = [line for line in shown[0].axes[0].lines if line.get_linestyle() == ":"]
    assert line.get_ydata()[0] == 1 / 3
