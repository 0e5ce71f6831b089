"""Robust accuracy against what the training cost: validation accuracies over the minutes that led there.

    bin/train --defense=robust_purifier --dataset=cifar10 --classifier=cifar_cnn --data_dir=DIR --run=runs/robust
    .venv/bin/python benchmarks/robust_cost.py runs/robust --output=cost.png

Several runs are drawn one after the other, as where each began with the one before (`--init_run`). Minutes are those of training
steps, from the images a second that the event files hold; validation and pauses do not count. Accuracies are of the first 500
validation images, clean and under the attack that the run trains against; a report's are the ones to quote.
"""

import argparse
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

import numpy as np

from tfdefense.evaluation.report.training_curves import load_training_curves
from tfdefense.training.run_directory import RunDirectory
from tfdefense.utils.figures import COLORS, save_figure, subplots
from tfdefense.utils.tables import markdown_table

SPEED = "train/images_per_second"
ACCURACY = "validation/accuracy_"


def points(run):
    """Minutes that the training took and images that it saw; both, and accuracies by name, at each of its validations."""
    curves = load_training_curves(run)
    if SPEED not in curves:
        sys.exit(f"robust_cost: {run.path} has no {SPEED}: no training that was logged")
    steps, speed = curves[SPEED]
    batch_size = run.require_kind("defense").settings["batch_size"]
    seconds = np.cumsum(np.diff(steps, prepend=0) * batch_size / speed)
    at = {}
    for tag, (validated, values) in curves.items():
        if tag.startswith(ACCURACY):
            for step, value in zip(validated, values, strict=True):
                minutes = float(np.interp(step, steps, seconds) / 60)
                point = at.setdefault(int(step), {"minutes": minutes, "images": step * batch_size})
                point[tag.removeprefix(ACCURACY)] = float(value)
    return float(seconds[-1] / 60), int(steps[-1]) * batch_size, [at[step] for step in sorted(at)]


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("runs", nargs="+")
    parser.add_argument("--output", default="cost.png")
    arguments = parser.parse_args()
    spent_minutes, spent_images, every = 0.0, 0, []
    for path in arguments.runs:
        minutes, images, found = points(RunDirectory(path))
        for point in found:
            shifted = {"minutes": spent_minutes + point["minutes"]}
            every.append({**point, **shifted, "images": spent_images + point["images"]})
        spent_minutes += minutes
        spent_images += images
    if not every:
        sys.exit("robust_cost: no validation was logged in any of these runs")
    names = [name for name in every[-1] if name not in ("minutes", "images")]
    figure, axis = subplots(1, 1, figsize=(6, 3.2))
    for name, color in zip(names, COLORS, strict=False):
        drawn = [(point["minutes"], 100 * point[name]) for point in every if name in point]
        axis.plot(*zip(*drawn, strict=True), color=color, marker="o", markersize=3, label=name)
    axis.set(xlabel="minutes of training", ylabel="validation accuracy, %", ylim=(0, 100))
    axis.legend(fontsize=8)
    figure.tight_layout()
    save_figure(figure, Path(arguments.output))
    rows = [
        [f"{point['minutes']:.1f}", f"{point['images']:,}"]
        + [f"{100 * point[name]:.1f}" if name in point else "-" for name in names]
        for point in every
    ]
    print("\n".join(markdown_table([["minutes", "images", *names], *rows])))


if __name__ == "__main__":
    main()
