"""Upper bound for Defense-GAN: each attacked image is replaced by the nearest training image.

    .venv/bin/python benchmarks/nearest_image.py --classifier=defense_gan_a --attack=fgsm:epsilon=0.3 --data_dir=DIR

Defense-GAN returns the nearest image that its generator can make. A generator that makes exactly
the training images would return these. If the classifier is wrong on them, the attack has moved the
image closer to one of another class, and a longer search does not help. Distances are L2, as in
Defense-GAN. The last line is one JSON object.
"""

import argparse
import dataclasses
import json
import os
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import numpy as np

from tfdefense import classifiers, data
from tfdefense.attacks.core.spec import parse_attack
from tfdefense.evaluation.runner import ModelRunner
from tfdefense.utils.statistics import wilson_interval
from tfdefense.utils.tables import format_share


def nearest_indices(images, candidates):
    """Return for each image the index of the candidate with the smallest L2 distance, int64 [N].

    Args:
      images: [N, H, W, C].
      candidates: [M, H, W, C].
    """
    flat, others = images.reshape(len(images), -1), candidates.reshape(len(candidates), -1)
    squares = np.sum(np.square(others), axis=1)
    parts = np.array_split(flat, max(1, len(flat) // 250))
    return np.concatenate([np.argmin(squares - 2 * part @ others.T, axis=1) for part in parts])


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--classifier", default="defense_gan_a")
    parser.add_argument("--dataset", default="mnist")
    parser.add_argument("--data_dir")
    parser.add_argument("--attack", default="fgsm:epsilon=0.3")
    parser.add_argument("--images", type=int, default=1000)
    arguments = parser.parse_args()
    dataset = data.load(arguments.dataset, arguments.data_dir)
    classifier = classifiers.load(arguments.classifier, dataset)
    runner = ModelRunner(classifier)
    test = dataset.test.take(arguments.images)
    attacked = runner.attack(parse_attack(arguments.attack), test)
    results = {}
    for name, split in (("none", test), (arguments.attack, attacked)):
        nearest = dataset.train.images[nearest_indices(split.images, dataset.train.images)]
        predictions = runner.predict(dataclasses.replace(test, images=nearest))
        correct, n = int(np.sum(predictions == test.labels)), len(test)
        error = float(np.mean(np.square(nearest - split.images)))
        share = format_share(correct / n, *wilson_interval(correct, n), n)
        print(f"attack {name}: {share}, mean squared error to the nearest image {error:.4f}")
        results[name] = {"correct": correct, "n": n, "mean_squared_error": round(error, 5)}
    print(json.dumps({"benchmark": "nearest_image", "attacks": results}))


if __name__ == "__main__":
    main()
