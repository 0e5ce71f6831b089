"""Ablation of `robust_purifier`: training without each of its parts, then white-box attacks.

    bin/train --classifier=mnist_cnn --dataset=mnist --data_dir=DIR
    .venv/bin/python benchmarks/robust_ablation.py --classifier=runs/mnist-mnist_cnn --data_dir=DIR --output=runs/ablation

Each row is one training on the first `--train_images` training images, in bfloat16. It is attacked
on the first `--images` test images at epsilon 0.3 by PGD, by APGD on the cross-entropy, and by the
square attack. `worst` counts the images that withstand all three. Rows are stored in
OUTPUT/rows.jsonl, and the same command resumes from there. OUTPUT/table.md contains the table. The
last line is one JSON object.
"""

import argparse
import json
import os
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import numpy as np

from tfdefense import data
from tfdefense.attacks.core.spec import parse_attack
from tfdefense.evaluation.runner import ModelRunner
from tfdefense.experiments.context import ExperimentContext
from tfdefense.experiments.from_flags import experiment_from_flags
from tfdefense.experiments.load import load_defense
from tfdefense.experiments.train import train_defense
from tfdefense.training.run_directory import RunDirectory
from tfdefense.utils.statistics import wilson_interval
from tfdefense.utils.tables import format_share, markdown_table

CORNERS = {"inner_start": "blocks"}
ROWS = {
    "uniform starts, seed 0": {"inner_start": "uniform"},
    "uniform starts, seed 1": {"inner_start": "uniform", "seed": 1},
    "uniform starts, seed 2": {"inner_start": "uniform", "seed": 2},
    "inner attack FGSM": {"inner_attack": "fgsm"},
    "inner attack fast": {"inner_attack": "fast"},
    "from corners, seed 0": CORNERS,
    "from corners, seed 1": {**CORNERS, "seed": 1},
    "from corners, seed 2": {**CORNERS, "seed": 2},
    "corners, without thresholds": {**CORNERS, "thresholds": 0},
    "corners, filters 16-32-64": {**CORNERS, "widths": (16, 32, 64)},
    "corners, filters 16-32-64-128-256": {**CORNERS, "widths": (16, 32, 64, 128, 256)},
    "corners, without MSE": {**CORNERS, "mse_weight": 0.0},
    "corners, with GAN loss, seed 0": {**CORNERS, "gan_weight": 0.1},
    "corners, with GAN loss, seed 1": {**CORNERS, "gan_weight": 0.1, "seed": 1},
    "corners, with GAN loss, seed 2": {**CORNERS, "gan_weight": 0.1, "seed": 2},
    "corners, without ramp": {**CORNERS, "ramp": 0.0},
    "corners, 10 inner steps": {**CORNERS, "inner_steps": 10},
}
ATTACKS = ("pgd:steps=40", "apgd_ce:steps=50", "square:queries=500")


def measure_row(name, arguments, test):
    """Train and attack one variant; return its row, with accuracies as (correct, count)."""
    settings = {
        "defense": "robust_purifier",
        "dataset": "mnist",
        "classifier": arguments.classifier,
        "mixed_precision": "bfloat16",
        "epochs": arguments.epochs,
        "train_images": arguments.train_images,
        **ROWS[name],
    }
    run = RunDirectory(Path(arguments.output) / name.replace(", ", "-").replace(" ", "-"))
    started = time.monotonic()
    config = experiment_from_flags(settings)
    train_defense(config, ExperimentContext(arguments.data_dir), run)
    row = {"row": name, "seconds": round(time.monotonic() - started)}
    defense = load_defense(run)
    runner = ModelRunner(defense.defend(), defense.batch_size)
    row["clean"] = int(np.sum(runner.predict(test) == test.labels)), len(test)
    few = test.take(arguments.images)
    withstood = np.ones(len(few), bool)
    for label in ATTACKS:
        right = runner.predict(runner.attack(parse_attack(label), few)) == few.labels
        withstood &= right
        row[label] = int(right.sum()), len(few)
    row["worst"] = int(withstood.sum()), len(few)
    return row


def format_cell(counts):
    """Return accuracy, interval and n of (correct, count)."""
    right, count = counts
    return format_share(right / count, *wilson_interval(right, count), count)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--classifier", default="runs/mnist-mnist_cnn")
    parser.add_argument("--data_dir")
    parser.add_argument("--output", default="runs/ablation")
    parser.add_argument("--images", type=int, default=500)
    parser.add_argument("--train_images", type=int, default=30_000)
    parser.add_argument("--epochs", type=int, default=1)
    parser.add_argument("--rows", help="names of rows, separated by semicolons (default: all)")
    arguments = parser.parse_args()
    output = Path(arguments.output)
    output.mkdir(parents=True, exist_ok=True)
    file = output / "rows.jsonl"
    rows = [json.loads(line) for line in file.read_text().splitlines()] if file.exists() else []
    rows = [row for row in rows if row["row"] in ROWS]
    test = data.load("mnist", arguments.data_dir).test
    for name in arguments.rows.split(";") if arguments.rows else ROWS:
        if name in [row["row"] for row in rows]:
            continue
        rows.append(measure_row(name, arguments, test))
        with file.open("a") as stored:
            stored.write(json.dumps(rows[-1]) + "\n")
        print(json.dumps(rows[-1]), flush=True)
    header = ["", "clean", *ATTACKS, "worst case", "seconds"]
    table = [
        [
            row["row"],
            *(format_cell(row[name]) for name in ("clean", *ATTACKS, "worst")),
            str(row["seconds"]),
        ]
        for row in sorted(rows, key=lambda row: list(ROWS).index(row["row"]))
    ]
    (output / "table.md").write_text("\n".join(markdown_table([header, *table])) + "\n")
    print(output / "table.md")
    print(json.dumps({"benchmark": "robust_ablation", "n": arguments.images, "rows": rows}))


if __name__ == "__main__":
    main()
