"""HopSkipJump compared with that of ART at equal queries, on test images and a trained classifier.

    .venv/bin/pip install -r benchmarks/requirements-attacks.txt
    bin/attack --attack=fgsm --dataset=mnist           # trains the classifier if there is none
    .venv/bin/python benchmarks/hop_skip_jump.py --run=runs/mnist-mnist_cnn

Both attack the same weights and the same correctly classified images, in one process. ART takes a
number of steps and no number of queries, so its queries are counted, and ours get their mean. The
distance of an image that an attack did not move over the boundary is infinite. ART attacks one
image after the other; ours attacks all at once.
"""

import argparse
import json
import os
import sys
import time
import warnings
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import numpy as np

import tfdefense
from tfdefense.adapters.art import art_classifier
from tfdefense.attacks import HopSkipJump
from tfdefense.training.run_directory import RunDirectory


class Target:
    """A classifier and correctly classified test images of it."""

    def __init__(self, run, dataset, data_dir, count):
        self.model = RunDirectory(run).load_classifier()
        test = tfdefense.data.load(dataset, data_dir).test.take(2 * count)
        right = np.flatnonzero(self.predict(test.images) == test.labels)[:count]
        self.images, self.labels = test.images[right], test.labels[right]

    def predict(self, images):
        return np.argmax(self.model.predict(images, verbose=0), 1)

    def distances(self, images, norm):
        """Return the distance of each image; infinite if it does not fool the model."""
        change = np.abs(images - self.images).reshape(len(images), -1)
        sizes = change.max(1) if norm == "linf" else np.linalg.norm(change, axis=1)
        return np.where(self.predict(images) != self.labels, sizes, np.inf)


def attack_with_art(target, norm, steps):
    """Return images, queries per image and seconds of ART's attack."""
    from art.attacks.evasion import HopSkipJump as ArtHopSkipJump

    np.random.seed(0)
    shape = target.images.shape[1:]
    classifier = art_classifier(target.model, shape, int(target.labels.max()) + 1)
    counted, predict = [0], classifier.predict

    def count_and_predict(images, **options):
        counted[0] += len(images)
        return predict(images, **options)

    classifier.predict = count_and_predict
    order = np.inf if norm == "linf" else 2
    attack = ArtHopSkipJump(
        classifier, batch_size=1000, norm=order, max_iter=steps, max_eval=10_000, verbose=False
    )
    started = time.perf_counter()
    images = attack.generate(target.images, target.labels)
    seconds = time.perf_counter() - started
    return images, counted[0] / len(images), seconds


def compare(target, norm, steps):
    """Return the comparison at the queries of ART's `steps` steps, and print it."""
    art_images, queries, art_seconds = attack_with_art(target, norm, steps)
    attack = HopSkipJump(norm=norm, queries=round(queries) - 1)
    attack.run(target.model, target.images, target.labels)  # Compiles.
    started = time.perf_counter()
    result = attack.run(target.model, target.images, target.labels)
    seconds = time.perf_counter() - started
    ours = target.distances(result.images.numpy(), norm)
    art = target.distances(art_images, norm)
    found = {
        "norm": norm,
        "queries": {"ours": float(np.mean(result.queries)), "art": queries},
        "median": {"ours": float(np.median(ours)), "art": float(np.median(art))},
        "success": {"ours": float(np.isfinite(ours).mean()), "art": float(np.isfinite(art).mean())},
        "seconds": {"ours": round(seconds, 2), "art": round(art_seconds, 2)},
        "median_ratio": round(float(np.median(art) / np.median(ours)), 3),
    }
    print(json.dumps(found), flush=True)
    return found


def main():
    warnings.filterwarnings("ignore")
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--run", default="runs/mnist-mnist_cnn", help="run directory with classifier.keras"
    )
    parser.add_argument("--dataset", default="mnist")
    parser.add_argument("--data_dir", default=os.environ.get("TFDS_DATA_DIR"))
    parser.add_argument("--images", type=int, default=50)
    parser.add_argument("--steps", default="3,10,30", help="numbers of steps of ART's attack")
    parser.add_argument("--norms", default="l2,linf")
    arguments = parser.parse_args()
    target = Target(arguments.run, arguments.dataset, arguments.data_dir, arguments.images)
    found = {
        f"{norm}, {steps} steps": compare(target, norm, int(steps))
        for norm in arguments.norms.split(",")
        for steps in arguments.steps.split(",")
    }
    print(
        json.dumps(
            {
                "benchmark": "hop_skip_jump",
                "ours": {name: each["median"]["ours"] for name, each in found.items()},
                "peer": {name: each["median"]["art"] for name, each in found.items()},
                "ratio": {name: each["median_ratio"] for name, each in found.items()},
                "unit": f"median distance of {len(target.images)} images at equal queries",
                "queries": {name: round(each["queries"]["art"]) for name, each in found.items()},
                "seconds": {name: each["seconds"] for name, each in found.items()},
            }
        )
    )


if __name__ == "__main__":
    main()
