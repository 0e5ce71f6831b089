"""Ablation of `robust_purifier`: trainings with one change each, then white-box attacks.

    bin/train --classifier=mnist_cnn --dataset=mnist --data_dir=DIR
    .venv/bin/python benchmarks/robust_ablation.py --classifier=runs/mnist-mnist_cnn --data_dir=DIR --output=runs/ablation
    .venv/bin/python benchmarks/robust_ablation.py --dataset=gtsrb --classifier=runs/signs --augmentation=photo \
        --data_dir=DIR --output=runs/ablation-signs

In colour, each row changes one value of `--recipe=color`. `small_unet` cannot have the auxiliary
loss, so compare it with the row without that loss. All rows cost the same number of gradients of
purifier and classifier: one update and the steps of the inner attack for each image. A row with a
more expensive attack makes fewer passes, and fewer than one pass over fewer images. The critic's own
gradients are not counted. The first row makes `--epochs` passes over `--train_images` images.

Rows in `MAIN` are trained with each of `--seeds`, others with the first. All are attacked on the
first `--images` images, with the epsilon for the shape of the images, by PGD, by APGD on the
cross-entropy, and by the square attack. `worst` counts the images that withstand all three. Rows are
stored in OUTPUT/rows.jsonl, and the same command resumes from there and within the training of a row.
OUTPUT/table.md contains the table. The last line is one JSON object.
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
from robust_ablation_rows import COLOR_ROWS, GREY_ROWS, MAIN, equal_cost, gradients_per_image

from tfdefense import data
from tfdefense.attacks import default_epsilon
from tfdefense.attacks.core.spec import parse_attack
from tfdefense.classifiers.core.augmentation import AUGMENTATIONS
from tfdefense.errors import UserError, require, unknown_name
from tfdefense.evaluation.runner import ModelRunner
from tfdefense.experiments.context import ExperimentContext
from tfdefense.experiments.from_flags import experiment_from_flags
from tfdefense.experiments.load import load_defense
from tfdefense.experiments.train import train_defense
from tfdefense.training.run_directory import RunDirectory
from tfdefense.utils.atomic_write import write_text_file
from tfdefense.utils.statistics import wilson_interval
from tfdefense.utils.tables import format_percent, format_share, markdown_table

ATTACKS = ("pgd:steps=40", "apgd_ce:steps=50", "square:queries=500")
# What the stored rows depend on. `data_dir`, `output`, `rows` and `seeds` may change.
BUDGET = (
    *("dataset", "classifier", "train_images", "epochs", "images", "split", "augmentation"),
    *("mirror", "mixed_precision"),
)


def row_flags(arguments, changes, seed):
    """Return flag name -> value of the training of a row, without its length."""
    names = ("dataset", "classifier", "augmentation", "mirror", "mixed_precision")
    given = {name: getattr(arguments, name) for name in names}
    given = {name: value for name, value in given.items() if value not in (None, False, "none")}
    return {"defense": "robust_purifier", **given, **changes, "seed": seed}


def measure_row(name, seed, arguments, rows, dataset):
    """Train and attack one variant; return its row, with accuracies as (correct, count)."""
    flags, first = (
        row_flags(arguments, changes, seed) for changes in (rows[name], next(iter(rows.values())))
    )
    configs = [experiment_from_flags(each).defense.hyperparameters for each in (flags, first)]
    passes, images = equal_cost(*configs, arguments.train_images, arguments.epochs)
    config = experiment_from_flags({**flags, "epochs": passes, "train_images": images})
    directory = f"{name}-seed-{seed}".replace(", ", "-").replace(" ", "-")
    run = RunDirectory(Path(arguments.output) / directory)
    started = time.monotonic()
    train_defense(config, ExperimentContext(arguments.data_dir), run)
    row = {
        "row": name,
        "seed": seed,
        "passes": passes,
        "train_images": images,
        "gradients": passes * images * gradients_per_image(configs[0]),
        "seconds": round(time.monotonic() - started),
    }
    split = getattr(dataset, arguments.split)
    defense = load_defense(run)
    runner = ModelRunner(defense.defend(), defense.batch_size)
    row["clean"] = int(np.sum(runner.predict(split) == split.labels)), len(split)
    few = split.take(arguments.images)
    epsilon, withstood = default_epsilon(few.image_shape), np.ones(len(few), bool)
    for label in ATTACKS:
        right = runner.predict(runner.attack(parse_attack(label, epsilon), few)) == few.labels
        withstood &= right
        row[label] = int(right.sum()), len(few)
    row["worst"] = int(withstood.sum()), len(few)
    return row


def format_cell(counts):
    """Return accuracy, interval and n of (correct, count)."""
    right, count = counts
    return format_share(right / count, *wilson_interval(right, count), count)


def make_tables(stored):
    """Return the lines of the table of all rows, and of the table of rows with several seeds."""
    lines = [["", "clean", *ATTACKS, "worst case"]]
    for row in stored:
        cells = (format_cell(row[name]) for name in ("clean", *ATTACKS, "worst"))
        lines.append([f"{row['row']}, seed {row['seed']}", *cells])
    spread = [["", "seeds", "worst case, mean", "smallest", "largest"]]
    for name in dict.fromkeys(row["row"] for row in stored):
        shares = [row["worst"][0] / row["worst"][1] for row in stored if row["row"] == name]
        if len(shares) > 1:
            found = (float(np.mean(shares)), min(shares), max(shares))
            spread.append([name, str(len(shares)), *map(format_percent, found)])
    parts = [markdown_table(table) for table in (lines, spread) if len(table) > 1]
    return [line for part in parts for line in [*part, ""]]


def load_rows(file, arguments):
    """Return the rows that an earlier call stored with the same budget.

    Raises:
      UserError: rows with another budget.
    """
    settings = file.with_name("settings.json")
    budget = {name: getattr(arguments, name) for name in BUDGET}
    if not file.exists():
        write_text_file(settings, json.dumps(budget) + "\n")
        return []
    stored = json.loads(settings.read_text()) if settings.exists() else {}
    others = [f"--{name}={stored.get(name)}" for name in BUDGET if stored.get(name) != budget[name]]
    require(
        not others,
        f"--output={arguments.output}: has rows with {' '.join(others)}. Give the same flags, or"
        " another --output.",
    )
    return [json.loads(line) for line in file.read_text().splitlines()]


def parse_seeds(text):
    """Return the seeds in a comma-separated list."""
    seeds = [int(part) for part in text.split(",") if part.isascii() and part.isdigit()]
    require(
        len(set(seeds)) == len(text.split(",")),
        f"--seeds={text}: different whole numbers from 0 on, separated by commas, needed.",
    )
    return seeds


def choose_rows(arguments, rows):
    """Return the names of the rows to measure."""
    names = arguments.rows.split(";") if arguments.rows else list(rows)
    for name in names:
        if name not in rows:
            raise unknown_name("--rows", name, rows)
    return names


def parse_arguments():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--dataset", default="mnist")
    parser.add_argument("--classifier", help="default: the usual one for the images, in runs/")
    parser.add_argument("--data_dir")
    parser.add_argument("--output", default="runs/ablation")
    parser.add_argument("--seeds", default="0,1,2", help="of the main rows; others have the first")
    parser.add_argument("--images", type=int, default=500, help="images to attack")
    parser.add_argument("--split", default="test", choices=("test", "validation"))
    parser.add_argument("--train_images", type=int, default=30_000)
    parser.add_argument("--epochs", type=int, help="passes of the first row (default: 1; colour 3)")
    parser.add_argument("--augmentation", default="none", choices=AUGMENTATIONS)
    parser.add_argument("--mirror", action="store_true")
    parser.add_argument("--mixed_precision", default="bfloat16", choices=("float32", "bfloat16"))
    parser.add_argument("--rows", help="names of rows, separated by semicolons (default: all)")
    return parser.parse_args()


def main():
    arguments = parse_arguments()
    seeds = parse_seeds(arguments.seeds)
    for name in ("images", "train_images"):
        value = getattr(arguments, name)
        require(value >= 1, f"--{name}={value}: at least 1 is needed.")
    dataset = data.load(arguments.dataset, arguments.data_dir)
    is_color = dataset.image_shape[-1] > 1
    rows = COLOR_ROWS if is_color else GREY_ROWS
    names = choose_rows(arguments, rows)
    if arguments.epochs is None:
        arguments.epochs = 3 if is_color else 1
    require(arguments.epochs >= 1, f"--epochs={arguments.epochs}: at least 1 is needed.")
    arguments.train_images = min(arguments.train_images, len(dataset.train))
    output = Path(arguments.output)
    output.mkdir(parents=True, exist_ok=True)
    file = output / "rows.jsonl"
    stored = load_rows(file, arguments)
    for name in names:
        for seed in seeds if name in MAIN else seeds[:1]:
            if (name, seed) in [(row["row"], row["seed"]) for row in stored]:
                continue
            stored.append(measure_row(name, seed, arguments, rows, dataset))
            write_text_file(file, "".join(json.dumps(row) + "\n" for row in stored))
            print(json.dumps(stored[-1]), flush=True)
    stored.sort(key=lambda row: (list(rows).index(row["row"]), row["seed"]))
    (output / "table.md").write_text("\n".join(make_tables(stored)))
    print(output / "table.md")
    budget = {name: getattr(arguments, name) for name in BUDGET}
    print(json.dumps({"benchmark": "robust_ablation", **budget, "rows": stored}))


if __name__ == "__main__":
    try:
        main()
    except UserError as error:
        print(f"robust_ablation: {error}", file=sys.stderr)
        sys.exit(2)
