"""Robust accuracy over the cost of training: validation accuracies over minutes.

    bin/train --defense=robust_purifier --dataset=cifar10 --classifier=cifar_cnn --data_dir=DIR --run=runs/robust
    .venv/bin/python benchmarks/robust_cost.py runs/robust --output=cost.png

Several runs are drawn one after the other, for runs that continue each other (`--init_run`).
Minutes are those of training steps, from the images per second in the event files, without
validation and pauses. Accuracies are over the first 500 validation images, clean and under the
attack that the run trains against. Quote the accuracies of a report, not these. The last line is
one JSON object.
"""

import argparse
import json
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


def load_points(run):
    """Return the minutes and images of a training, and one point per validation.

    A point has the keys "minutes", "images", and the name of each accuracy.
    """
    curves = load_training_curves(run)
    if SPEED not in curves:
        sys.exit(f"robust_cost: {run.path}: no {SPEED} in its event files.")
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
    spent_minutes, spent_images, all_points = 0.0, 0, []
    for path in arguments.runs:
        minutes, images, found = load_points(RunDirectory(path))
        for point in found:
            shifted = {"minutes": spent_minutes + point["minutes"]}
            all_points.append({**point, **shifted, "images": spent_images + point["images"]})
        spent_minutes += minutes
        spent_images += images
    if not all_points:
        sys.exit("robust_cost: no validation accuracies in the event files of these runs.")
    names = [name for name in all_points[-1] if name not in ("minutes", "images")]
    figure, axis = subplots(1, 1, figsize=(6, 3.2))
    for name, color in zip(names, COLORS, strict=False):
        drawn = [(point["minutes"], 100 * point[name]) for point in all_points if name in point]
        axis.plot(*zip(*drawn, strict=True), color=color, marker="o", markersize=3, label=name)
    axis.set(xlabel="minutes of training", ylabel="validation accuracy, %", ylim=(0, 100))
    axis.legend(fontsize=8)
    figure.tight_layout()
    save_figure(figure, Path(arguments.output))
    rows = [
        [f"{point['minutes']:.1f}", f"{point['images']:,}"]
        + [f"{100 * point[name]:.1f}" if name in point else "-" for name in names]
        for point in all_points
    ]
    print("\n".join(markdown_table([["minutes", "images", *names], *rows])))
    print(json.dumps({"benchmark": "robust_cost", "points": all_points}))


if __name__ == "__main__":
    main()
