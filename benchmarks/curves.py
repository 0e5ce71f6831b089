"""Training curves of several runs in one figure, to compare how stable the defences train.

    for seed in 0 1 2; do for defense in apegan apeganpp; do
      bin/train --defense=$defense --seed=$seed --dataset=mnist --epochs=2 --run=runs/curves-$defense-$seed
    done; done
    .venv/bin/python benchmarks/curves.py runs/curves-* --output=curves.png

It reads the event files of the runs. For each run it also prints the last validation accuracy, the
largest fall between two validations in the second half of training, and the largest gradient norm
of the generator divided by the median norm in that half.
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

NORM = "train/gradient_norm_generator"


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("runs", nargs="+")
    parser.add_argument("--output", default="curves.png")
    parser.add_argument(
        "--epsilon", type=float, default=0.3, help="epsilon of the FGSM accuracy to show"
    )
    arguments = parser.parse_args()
    accuracy_tag = f"validation/accuracy_fgsm_{arguments.epsilon:g}"
    figure, axes = subplots(1, 3, figsize=(12, 3.6))
    found = {}
    for path in arguments.runs:
        run = RunDirectory(path)
        defense = run.require_kind("defense").settings["defense"]
        curves = load_training_curves(run)
        if accuracy_tag not in curves:
            sys.exit(f"curves: {path}: no curve {accuracy_tag}. It has: {', '.join(curves)}.")
        rows = found.setdefault(defense, [])
        color = COLORS[list(found).index(defense) % len(COLORS)]
        label = None if rows else defense
        for axis, tag in zip(axes, ("validation/accuracy_clean", accuracy_tag, NORM), strict=True):
            steps, values = curves[tag]
            axis.plot(steps, values, color=color, label=label, linewidth=1, alpha=0.8)
            axis.set(title=tag.split("/")[1].replace("_", " "), xlabel="step")
        accuracies, norms = curves[accuracy_tag][1], curves[NORM][1]
        late, late_norms = accuracies[len(accuracies) // 2 :], norms[len(norms) // 2 :]
        rows.append(
            {
                "run": str(path),
                accuracy_tag.split("/")[1]: round(float(accuracies[-1]), 4),
                "largest_fall": round(float(max((0, *(late[:-1] - late[1:])))), 4),
                "norm_max_over_median": round(float(late_norms.max() / np.median(late_norms)), 2),
            }
        )
    axes[2].set_yscale("log")
    axes[0].legend(frameon=False)
    figure.tight_layout()
    save_figure(figure, Path(arguments.output))
    print(f"{arguments.output} written")
    print(json.dumps({"benchmark": "curves", "defenses": found}))


if __name__ == "__main__":
    main()
