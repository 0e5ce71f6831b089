"""Table of the classifiers in `runs/`, with the accuracies printed in the papers.

    bin/train --classifier=lenet --dataset=mnist       # and so on
    .venv/bin/python benchmarks/classifiers.py --runs=runs

Accuracies are over all test images, with 95 % Wilson intervals. Minutes are those of the training
on the machine that trained.
"""

import argparse
import json
import sys
from pathlib import Path

# Accuracies in percent, from "APE-GAN++" (table I) and from "The Defense of Adversarial Example with
# Conditional Generative Adversarial Networks" (section 5, table 6).
PRINTED = {
    "mnist": {
        "mnist_cnn": 98.51,
        "resnet18": 99.65,
        "vgg16": 99.66,
        "lenet": 99.02,
        "anet": 98.96,
        "bnet": 99.74,
        "defense_gan_a": 99.7,
        "defense_gan_b": 96.2,
        "defense_gan_c": 99.6,
        "defense_gan_d": 99.2,
    },
    "cifar10": {
        "cifar_cnn": 83.98,
        "resnet18": 87.43,
        "vgg16": 89.91,
        "densenet": 92.58,
        "rnet": 93.63,
        "dnet": 95.04,
    },
}


def require_one(found, key, run):
    """End the program if an earlier run has the dataset and classifier of `run`."""
    if key in found:
        sys.exit(f"{run}: another run has {' and '.join(key)}, too. Move one of them.")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--runs", type=Path, default=Path("runs"))
    found = {}
    for path in parser.parse_args().runs.glob("*/summary.json"):
        config = json.loads((path.parent / "config.json").read_text())
        if config["kind"] == "classifier":
            summary = json.loads(path.read_text())
            key = (summary["dataset"], summary["classifier"])
            require_one(found, key, path.parent)
            found[key] = (summary, config["settings"])
    print("| dataset | classifier | parameters | test accuracy | printed | passes | minutes |")
    print("| --- | --- | --- | --- | --- | --- | --- |")
    for (dataset, name), (summary, settings) in sorted(found.items()):
        printed = PRINTED.get(dataset, {}).get(name)
        low, high = 100 * summary["ci_low"], 100 * summary["ci_high"]
        accuracy = f"{summary['accuracy']:.2%} [{low:.2f}, {high:.2f}] n={summary['n']:,}"
        print(
            f"| {dataset} | `{name}` | {summary['parameters']:,} | {accuracy} | {printed or '-'} |"
            f" {settings['epochs']} | {summary['seconds'] / 60:.1f} |"
        )
    differences = {
        f"{dataset}/{name}": round(100 * summary["accuracy"] - PRINTED[dataset][name], 2)
        for (dataset, name), (summary, _) in sorted(found.items())
        if name in PRINTED.get(dataset, {})
    }
    print(
        json.dumps(
            {
                "benchmark": "classifiers",
                "ours": {f"{d}/{n}": s["accuracy"] for (d, n), (s, _) in sorted(found.items())},
                "peer": "the papers",
                "points_above_printed": differences,
                "unit": "accuracy",
            }
        )
    )


if __name__ == "__main__":
    main()
