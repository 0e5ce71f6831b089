"""Accuracy after training in float32 and in bfloat16, for several seeds.

    .venv/bin/python benchmarks/precisions.py --dataset=gtsrb --classifier=cifar_cnn --data_dir=DIR
    .venv/bin/python benchmarks/precisions.py --dataset=mnist --defense=apeganpp --data_dir=DIR

Without `--defense`, the classifier is trained once for each seed and precision. With it, the
classifier is trained once and the defence for each seed and precision, and the accuracy is that on
clean images and under PGD in grey box and in white box. Runs are in OUTPUT; the same command resumes
there. The last line is one JSON object.
"""

import argparse
import json
import os
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import numpy as np

from tfdefense import data
from tfdefense.attacks import default_epsilon
from tfdefense.attacks.core.spec import parse_attack
from tfdefense.evaluation.runner import ModelRunner
from tfdefense.experiments.context import ExperimentContext
from tfdefense.experiments.from_flags import classifier_experiment_from_flags, experiment_from_flags
from tfdefense.experiments.load import load_defense
from tfdefense.experiments.train import train_defense
from tfdefense.experiments.train_classifier import train_classifier
from tfdefense.training.mixed_precision import PRECISIONS
from tfdefense.training.run_directory import RunDirectory
from tfdefense.utils.statistics import wilson_interval
from tfdefense.utils.tables import format_share


def train_one(arguments, precision, seed, run):
    """Return name -> bool [n], the images that are classified correctly after one training."""
    context = ExperimentContext(arguments.data_dir)
    settings = {
        "dataset": arguments.dataset,
        "classifier": arguments.classifier,
        "mixed_precision": precision,
        "seed": seed,
        "epochs": arguments.epochs,
    }
    test = data.load(arguments.dataset, arguments.data_dir).test
    if not arguments.defense:
        experiment = classifier_experiment_from_flags(settings)
        _, classifier = train_classifier(experiment, context, run)
        return {"clean": ModelRunner(classifier).predict(test) == test.labels}
    config = experiment_from_flags({**settings, "defense": arguments.defense})
    train_defense(config, context, run)
    defense = load_defense(run)
    pipeline = ModelRunner(defense.defend(), defense.batch_size)
    few = test.take(arguments.images)
    attack = parse_attack(arguments.attack, default_epsilon(few.image_shape))
    attacked = ModelRunner(defense.classifier).attack(attack, few)
    fewest = few.take(arguments.white_box_images)
    white_box = pipeline.attack(attack, fewest)
    return {
        "clean": pipeline.predict(test) == test.labels,
        arguments.attack: pipeline.predict(attacked) == few.labels,
        f"{arguments.attack}, white box": pipeline.predict(white_box) == fewest.labels,
    }


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--dataset", default="mnist")
    parser.add_argument("--classifier", default="mnist_cnn")
    parser.add_argument("--defense", help="a defence that learns; default: the classifier alone")
    parser.add_argument("--attack", default="pgd", help="grey-box attack on the classifier")
    parser.add_argument("--data_dir")
    parser.add_argument("--output", default="runs/precisions")
    parser.add_argument("--images", type=int, default=1_000, help="attacked test images")
    parser.add_argument(
        "--white_box_images", type=int, default=100, help="attacked with the defence"
    )
    parser.add_argument("--epochs", type=int, default=1)
    parser.add_argument("--seeds", default="0,1,2")
    arguments = parser.parse_args()
    subject = f"{arguments.dataset}-{arguments.defense or arguments.classifier}"
    found = {}
    for seed in map(int, arguments.seeds.split(",")):
        for precision in PRECISIONS:
            run = RunDirectory(Path(arguments.output) / f"{subject}-{precision}-{seed}")
            for name, right in train_one(arguments, precision, seed, run).items():
                count = len(right)
                interval = wilson_interval(int(right.sum()), count)
                share = format_share(float(np.mean(right)), *interval, count)
                print(f"{subject} {precision} seed {seed} {name}: {share}", flush=True)
                found.setdefault(name, {}).setdefault(precision, []).append(
                    [float(np.mean(right)), *interval]
                )
    means = {
        name: {
            precision: float(np.mean([row[0] for row in rows])) for precision, rows in each.items()
        }
        for name, each in found.items()
    }
    result = {"benchmark": "precisions", "subject": subject, "epochs": arguments.epochs}
    print(json.dumps({**result, "unit": "accuracy", "mean": means, "seeds": found}))


if __name__ == "__main__":
    main()
