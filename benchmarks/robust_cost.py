"""Robust accuracy over the cost of training: validation accuracies over minutes.

    bin/train --defense=robust_purifier --dataset=cifar10 --classifier=cifar_cnn --data_dir=DIR --run=runs/robust
    .venv/bin/python benchmarks/robust_cost.py runs/robust --output=cost.png

Several runs have a line style each. Runs that continue each other (`--init_run`) are one argument,
separated by commas. Minutes are those of training steps at the median of the images per second in
the event files: without validation, pauses and other work. Accuracies are over the first 500
validation images, clean and under the attack that the run trains against. Quote the accuracies of a
report, not these. The last line is one JSON object.
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
STYLES = ("-", "--", ":", "-.")


def load_points(run):
    """Return the minutes and images of a training, and one point per validation.

    A point has the keys "minutes", "images", and the name of each accuracy.
    """
    curves = load_training_curves(run)
    if SPEED not in curves:
        sys.exit(f"robust_cost: {run.path}: no {SPEED} in its event files.")
    steps, speed = curves[SPEED]
    batch_size = run.require_kind("defense").settings["batch_size"]
    minutes_per_step = batch_size / float(np.median(speed)) / 60
    at = {}
    for tag, (validated, values) in curves.items():
        if tag.startswith(ACCURACY):
            for step, value in zip(map(int, validated), values, strict=True):
                cost = {"minutes": step * minutes_per_step, "images": step * batch_size}
                point = at.setdefault(step, cost)
                point[tag.removeprefix(ACCURACY)] = float(value)
    last = int(steps[-1])
    return last * minutes_per_step, last * batch_size, [at[step] for step in sorted(at)]


def join_points(runs):
    """Return the points of runs that continue each other, with the minutes and images of all."""
    spent_minutes, spent_images, joined = 0.0, 0, []
    for run in runs:
        minutes, images, points = load_points(run)
        for point in points:
            shifted = {"minutes": spent_minutes + point["minutes"]}
            joined.append({**point, **shifted, "images": spent_images + point["images"]})
        spent_minutes += minutes
        spent_images += images
    if not joined:
        sys.exit(f"robust_cost: {runs[0].path}: no validation accuracies in its event files.")
    return joined


def accuracy_names(points):
    """Return the names of the accuracies of points."""
    return [name for name in points[-1] if name not in ("minutes", "images")]


def draw(curves, output):
    """Draw accuracy over minutes.

    Args:
      curves: title of a training -> its points.
      output: path of the figure.
    """
    figure, axis = subplots(1, 1, figsize=(6, 3.2))
    for (title, points), style in zip(curves.items(), STYLES, strict=False):
        for name, color in zip(accuracy_names(points), COLORS, strict=False):
            drawn = [(point["minutes"], 100 * point[name]) for point in points if name in point]
            label = name if len(curves) == 1 else f"{title}: {name}"
            options = {"color": color, "linestyle": style, "marker": "o", "markersize": 3}
            axis.plot(*zip(*drawn, strict=True), label=label, **options)
    axis.set(xlabel="minutes of training", ylabel="validation accuracy, %", ylim=(0, 100))
    axis.legend(fontsize=8)
    figure.tight_layout()
    save_figure(figure, output)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("runs", nargs="+", help="run directories; A,B if B continues A")
    parser.add_argument("--output", default="cost.png")
    arguments = parser.parse_args()
    if len(arguments.runs) > len(STYLES):
        parser.error(f"{len(arguments.runs)} curves given, at most {len(STYLES)} can be drawn")
    curves = {
        given: join_points([RunDirectory(path) for path in given.split(",")])
        for given in arguments.runs
    }
    draw(curves, Path(arguments.output))
    for title, points in curves.items():
        names = accuracy_names(points)
        rows = [
            [f"{point['minutes']:.1f}", f"{point['images']:,}"]
            + [f"{100 * point[name]:.1f}" if name in point else "-" for name in names]
            for point in points
        ]
        print(f"{title}:\n")
        print("\n".join(markdown_table([["minutes", "images", *names], *rows])), end="\n\n")
    print(json.dumps({"benchmark": "robust_cost", "curves": curves}))


if __name__ == "__main__":
    main()
