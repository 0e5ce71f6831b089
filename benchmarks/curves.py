"""Training curves of several runs in one figure: of defences, or of classifiers.

    for seed in 0 1 2; do for defense in apegan apeganpp; do
      bin/train --defense=$defense --seed=$seed --dataset=mnist --epochs=2 --run=runs/curves-$defense-$seed
    done; done
    .venv/bin/python benchmarks/curves.py runs/curves-* --output=curves.png
    .venv/bin/python benchmarks/curves.py runs/cifar10-cifar_cnn runs/cifar10-resnet18

It reads the event files of the runs. For each run of a defence it also prints the last validation
accuracy, the largest fall between two validations in the second half of training, and the largest
gradient norm of the generator divided by the median norm in that half.

Runs of classifiers are drawn over passes through the training images: accuracy and loss, of the
validation images as a line and of the augmented training batches dashed. For each run it prints the
passes, the accuracies of the last validation, and the test accuracy with its interval once the
training has ended. The last line is one JSON object.
"""

import argparse
import json
import os
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import numpy as np

from tfdefense.classifiers.core.cached_training import read_summary
from tfdefense.errors import UserError, require
from tfdefense.evaluation.report.training_curves import load_training_curves
from tfdefense.training.loop_config import LoopConfig
from tfdefense.training.run_directory import RunDirectory
from tfdefense.utils.figures import COLORS, save_figure, subplots

NORM = "train/gradient_norm_generator"
PANELS = ("accuracy", "loss")


def require_curve(curves, tag, run):
    """Raise `UserError` unless the event files of a run have the curve `tag`."""
    names = ", ".join(curves) or "no curves"
    require(tag in curves, f"{run.path}: no curve {tag} in its event files. They have: {names}.")


def draw_defenses(runs, accuracy_tag):
    """Return a figure of the accuracies and gradient norms over steps, and name -> a row per run."""
    figure, axes = subplots(1, 3, figsize=(12, 3.6))
    found = {}
    for run, config in runs:
        defense = config.settings["defense"]
        curves = load_training_curves(run)
        rows = found.setdefault(defense, [])
        color = COLORS[list(found).index(defense) % len(COLORS)]
        label = None if rows else defense
        for axis, tag in zip(axes, ("validation/accuracy_clean", accuracy_tag, NORM), strict=True):
            require_curve(curves, tag, run)
            steps, values = curves[tag]
            axis.plot(steps, values, color=color, label=label, linewidth=1, alpha=0.8)
            axis.set(title=tag.split("/")[1].replace("_", " "), xlabel="step")
        accuracies, norms = curves[accuracy_tag][1], curves[NORM][1]
        late, late_norms = accuracies[len(accuracies) // 2 :], norms[len(norms) // 2 :]
        rows.append(
            {
                "run": str(run.path),
                accuracy_tag.split("/")[1]: round(float(accuracies[-1]), 4),
                "largest_fall": round(float(max((0, *(late[:-1] - late[1:])))), 4),
                "norm_max_over_median": round(float(late_norms.max() / np.median(late_norms)), 2),
            }
        )
    axes[2].set_yscale("log")
    axes[0].legend(frameon=False)
    return figure, found


def count_passes(curves, epochs):
    """Return a function from steps to passes over the training images.

    The number of training images is not stored. In a training with all its validations, the last
    one is after `epochs` passes. In one that stopped before, the first validation is after one pass,
    or after a longer part of a training with more passes than validations, rounded to steps.
    """
    validated, validations = curves["validation/accuracy"][0], LoopConfig(epochs).validations
    if len(validated) >= min(epochs, validations):
        return lambda steps: np.asarray(steps) * epochs / validated[-1]
    return lambda steps: np.asarray(steps) * max(1.0, epochs / validations) / validated[0]


def draw_classifiers(runs):
    """Return a figure of accuracy and loss over passes, and name -> a row per run."""
    figure, axes = subplots(1, 2, figsize=(8, 3.2))
    found = {}
    for run, config in runs:
        name, curves = config.settings["classifier"], load_training_curves(run)
        for part in ("train", "validation"):
            for panel in PANELS:
                require_curve(curves, f"{part}/{panel}", run)
        to_passes = count_passes(curves, config.setting("epochs", int))
        rows = found.setdefault(name, [])
        color = COLORS[list(found).index(name) % len(COLORS)]
        for axis, panel in zip(axes, PANELS, strict=True):
            steps, values = curves[f"train/{panel}"]
            axis.plot(to_passes(steps), values, "--", color=color, linewidth=0.8, alpha=0.6)
            steps, values = curves[f"validation/{panel}"]
            label = None if rows else name
            axis.plot(to_passes(steps), values, color=color, label=label, linewidth=1)
            axis.set(title=f"{panel}: validation, training dashed", xlabel="passes")
        last_step = curves["train/loss"][0][-1]
        row = {"run": str(run.path), "passes": round(float(to_passes(last_step)), 1)}
        for part in ("train", "validation"):
            row[f"{part}_accuracy"] = round(float(curves[f"{part}/accuracy"][1][-1]), 4)
        summary = read_summary(run)
        if summary is not None:
            row["test"] = {key: summary[key] for key in ("accuracy", "ci_low", "ci_high", "n")}
        rows.append(row)
    axes[0].legend(frameon=False)
    return figure, found


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("runs", nargs="+")
    parser.add_argument("--output", default="curves.png")
    parser.add_argument(
        "--epsilon", type=float, default=0.3, help="epsilon of the FGSM accuracy to show"
    )
    arguments = parser.parse_args()
    runs = [RunDirectory(path) for path in arguments.runs]
    runs = [(run, run.read_config()) for run in runs]
    kinds = {config.kind: run for run, config in runs}
    require(
        set(kinds) in ({"defense"}, {"classifier"}),
        "runs of one kind needed, defence or classifier; given: "
        + ", ".join(f"{kind} ({run.path})" for kind, run in kinds.items())
        + ". Draw them apart.",
    )
    if "defense" in kinds:
        figure, found = draw_defenses(runs, f"validation/accuracy_fgsm_{arguments.epsilon:g}")
    else:
        figure, found = draw_classifiers(runs)
    figure.tight_layout()
    save_figure(figure, Path(arguments.output))
    print(f"{arguments.output} written")
    print(json.dumps({"benchmark": "curves", f"{next(iter(kinds))}s": found}))


if __name__ == "__main__":
    try:
        main()
    except UserError as error:
        print(f"curves: {error}", file=sys.stderr)
        sys.exit(2)
