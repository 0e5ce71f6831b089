"""Accuracy of a trained purifier under one attack through each of its surrogate gradients.

    .venv/bin/python benchmarks/surrogates.py --images=500 --skip=2000 --data_dir=DIR
    .venv/bin/python benchmarks/surrogates.py --run=runs/purifier --split=validation --skip=0 \
        --data_dir=DIR

The attack runs with each surrogate alone, on all images. "together" counts the images that
withstand this surrogate and all above it: what one attack that tries them in this order leaves. The
last line is one JSON object: "ours" is the accuracy that all surrogates together leave, and "peer"
that of the default alone.
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

from tfdefense import data, zoo
from tfdefense.attacks.core.each_surrogate import find_surrogates
from tfdefense.attacks.core.spec import parse_attack
from tfdefense.errors import UserError, require
from tfdefense.evaluation.runner import ModelRunner
from tfdefense.experiments.context import ImagePlace
from tfdefense.experiments.evaluate import load_target
from tfdefense.networks.surrogates import use_surrogates
from tfdefense.training.run_directory import RunDirectory


def main():
    arguments = parse_arguments()
    try:
        measure(arguments)
    except UserError as error:
        sys.stderr.write(f"surrogates: {error}\n")
        sys.exit(2)


def parse_arguments():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    which = parser.add_mutually_exclusive_group()
    which.add_argument(
        "--model", default="robust_purifier/mnist/mnist_cnn", help=", ".join(zoo.names())
    )
    which.add_argument("--run", type=Path, help="directory of a trained purifier")
    parser.add_argument("--attack", default="apgd_ce:epsilon=0.3")
    parser.add_argument("--surrogates", help="comma-separated; default: all, the default first")
    parser.add_argument("--images", type=int, default=500)
    parser.add_argument("--split", choices=["test", "validation"], default="test")
    parser.add_argument("--skip", type=int, default=1000, help="images before the first one")
    parser.add_argument("--data_dir")
    return parser.parse_args()


def measure(arguments):
    if arguments.run:
        model = f"--run={arguments.run}"
        target = load_target(RunDirectory(arguments.run), ImagePlace(arguments.data_dir))
        defense, dataset = target.defense, target.dataset
    else:
        model, pretrained = f"--model={arguments.model}", zoo.load(arguments.model)
        defense = pretrained.before(pretrained.classifier())
        dataset = data.load(pretrained.name.split("/")[1], arguments.data_dir)
    pipeline, split = defense.defend(), getattr(dataset, arguments.split)
    last = arguments.skip + arguments.images
    require(
        0 <= arguments.skip < last <= len(split),
        f"--skip={arguments.skip} --images={arguments.images}: the {arguments.split} images are"
        f" {len(split)}. Choose a part of them.",
    )
    split = split.select(np.arange(arguments.skip, last))
    names = find_surrogates(pipeline, split.image_shape)
    require(bool(names), f"{model}: has one gradient, and no surrogates.")
    runner = ModelRunner(pipeline, defense.batch_size)
    attack, together = parse_attack(arguments.attack), runner.predict(split) == split.labels
    print(f"{'clean':14} accuracy {np.mean(together):.1%} n={len(split)}", flush=True)
    found = {}
    for name in arguments.surrogates.split(",") if arguments.surrogates else names:
        started = time.perf_counter()
        with use_surrogates(name):
            attacked = runner.attack(attack, split, show_progress=False)
        withstands = runner.predict(attacked) == split.labels
        together &= withstands
        found[name] = {
            "alone": float(np.mean(withstands)),
            "together": float(np.mean(together)),
            "seconds": round(time.perf_counter() - started, 1),
        }
        print(
            f"{name:14} alone {found[name]['alone']:.1%}, together {found[name]['together']:.1%},"
            f" {found[name]['seconds']:.0f} s",
            flush=True,
        )
    last = list(found.values())[-1]
    default = found.get(names[0], {}).get("alone")
    print(
        json.dumps(
            {
                "benchmark": "surrogates",
                "model": model,
                "split": arguments.split,
                "skip": arguments.skip,
                "attack": arguments.attack,
                "n": len(split),
                "surrogates": found,
                "ours": last["together"],
                "peer": default,
                "ratio": default and round(last["together"] / default, 4),
                "unit": "accuracy",
            }
        )
    )


if __name__ == "__main__":
    main()
