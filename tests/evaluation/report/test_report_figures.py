"""Lines and bars of the figures of a report."""

import dataclasses

import numpy as np
import pytest

from tfdefense.evaluation.per_image_results import PerImageResults
from tfdefense.evaluation.report.report_figures import (
    save_epsilon_figure,
    save_perturbation_figure,
    save_roc_figure,
)


def test_chance_follows_from_the_classes_of_the_data_not_from_the_labels(report, tmp_path, drawn):
    few = dataclasses.replace(report, labels=np.zeros(24, np.int32))
    save_epsilon_figure(few, tmp_path / "epsilon.png")
    (line,) = [line for line in drawn[0].axes[0].lines if line.get_linestyle() == ":"]
    assert line.get_ydata()[0] == 1 / 3


def test_each_line_over_epsilon_has_its_own_accuracies(report, tmp_path, drawn):
    accuracies = {"undefended": [1.0, 0.2], "grey_box": [0.9, 0.6], "white_box": [0.8, 0.4]}
    curve = {"epsilon": [0.0, 0.3], "classes": 3, "n": 9, **accuracies}
    save_epsilon_figure(dataclasses.replace(report, curve=curve), tmp_path / "epsilon.png")
    (axis,) = drawn[0].axes
    lines = {line.get_label(): line for line in axis.lines}
    for name, expected in accuracies.items():
        line = lines[name.replace("_", " ")]
        assert list(line.get_xdata()) == [0.0, 0.3]
        assert list(line.get_ydata()) == expected


def test_bars_are_the_norms_before_and_after_purification(report, tmp_path, drawn):
    save_perturbation_figure(report, tmp_path / "perturbations.png")
    axes = drawn[0].axes
    assert [axis.get_title() for axis in axes] == ["grey box (n = 24)", "white box (n = 9)"]
    attacks = ["fgsm", "fgsm_predicted", "bim"]
    for axis, threat_model in zip(axes, ("grey_box", "white_box"), strict=True):
        assert [label.get_text() for label in axis.get_xticklabels()] == attacks
        rows = [report.row("apeganpp", attack, threat_model) for attack in attacks]
        heights = {bars.get_label(): [bar.get_height() for bar in bars] for bars in axis.containers}
        assert heights == {
            "before purification": [row.l1 for row in rows],
            "after purification": [row.left_l1 for row in rows],
        }


@pytest.fixture
def detecting_report(report):
    """A report on a defence that refuses one of four clean images."""
    scores = {
        "magnet/none/none": [-2.0, -1.0, -0.5, 0.5],
        "magnet/fgsm/grey_box": [-0.7, 0.2, 1.0, 2.0],
        "magnet/bim/white_box": [-3.0, -3.0, 1.0, 1.0],
    }
    per_image = {
        key: PerImageResults(
            np.zeros(4, np.int32), np.zeros((4, 3), np.float32), excess=np.array(excess)
        )
        for key, excess in scores.items()
    }
    return dataclasses.replace(report, per_image=per_image)


def test_roc_curves_have_refused_attacked_over_refused_clean_images(
    detecting_report, tmp_path, drawn
):
    save_roc_figure(detecting_report, tmp_path / "roc.png")
    corners = {
        ("grey box", "fgsm"): {(1e-4, 0.5), (0.25, 0.5), (0.25, 0.75), (0.5, 0.75), (0.5, 1)},
        ("white box", "bim"): {(1e-4, 0), (1e-4, 0.5), (1, 0.5), (1, 1)},
    }
    points = {}
    for axis in drawn[0].axes:
        assert axis.get_xlabel().startswith("refused clean images")
        curve, used = axis.lines
        assert list(used.get_xdata()) == [0.25, 0.25]
        points[axis.get_title(), curve.get_label()] = set(map(tuple, curve.get_xydata().tolist()))
    assert points.keys() == corners.keys()
    assert all(corners[name] <= points[name] for name in corners)
    assert drawn[0].axes[0].get_ylabel() == "refused attacked images"
