"""The files of a report in a run directory."""

from pathlib import Path

import numpy as np

from tfdefense.evaluation.predictions_file import save_predictions
from tfdefense.evaluation.report.render import to_html, to_latex, to_markdown
from tfdefense.evaluation.report.report import Report
from tfdefense.evaluation.report.report_figures import (
    save_epsilon_figure,
    save_perturbation_figure,
    save_roc_figure,
)
from tfdefense.evaluation.report.training_curves import save_training_figure
from tfdefense.training.run_directory import RunDirectory
from tfdefense.training.summaries import SummaryWriter
from tfdefense.utils.atomic_write import write_text_file


def save_report(report: Report, run: RunDirectory) -> None:
    """Write `report.md|html|csv|tex`, `predictions.npz`, the figures and, last, `report.json`.

    Args:
      report: the report, with results per image.
      run: the run directory, which already holds `gallery.png`.
    """
    directory = run.path
    save_perturbation_figure(report, directory / "perturbations.png")
    names = ["gallery", "perturbations"]
    if report.curve:
        save_epsilon_figure(report, directory / "epsilon.png")
        names.append("epsilon")
    if run.exists() and save_training_figure(run, directory / "training.png"):
        names.append("training")
    if report.detections:
        save_roc_figure(report, directory / "roc.png")
        names.append("roc")
    pictures = tuple(names)
    write_text_file(directory / "report.md", to_markdown(report, pictures))
    write_text_file(directory / "report.html", to_html(report, directory, pictures))
    write_text_file(directory / "report.csv", report.to_csv())
    write_text_file(directory / "report.tex", to_latex(report))
    assert report.labels is not None, "a report that was read from a file has no predictions"
    results = {**report.per_image, **report.worst_cases}
    save_predictions(directory / "predictions.npz", report.labels, results)
    with SummaryWriter(directory) as summaries:
        grids = {name: _load_picture(directory / f"{name}.png") for name in pictures}
        summaries.write_images("evaluation", grids, step=0)
    write_text_file(directory / "report.json", report.to_json())


def _load_picture(path: Path) -> np.ndarray:
    """Return a PNG file as float32 [H, W, 3]."""
    from matplotlib.image import imread

    return imread(path)[..., :3]
