"""How far a search for the nearest image can get: an attacked image replaced by the nearest of all training images.

    .venv/bin/python benchmarks/nearest_image.py --classifier=defense_gan_a --attack=fgsm:epsilon=0.3 --data_dir=DIR

Defense-GAN answers with the nearest image that its generator can make. A generator that makes the training images and nothing else
would answer with these; where the classifier is wrong on them, the attack has moved the image nearer to one of another class, and no
longer search helps. Distances are in L2, as Defense-GAN's.
"""

import argparse
import dataclasses
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


def nearest(images, among):
    """Of each image [N, H, W, C], the index int64 [N] of the one `among` [M, H, W, C] that is nearest in L2."""
    flat, others = images.reshape(len(images), -1), among.reshape(len(among), -1)
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
    judge = ModelRunner(classifier)
    test = dataset.test.take(arguments.images)
    attacked = judge.attack(parse_attack(arguments.attack), test)
    for name, split in (("none", test), (arguments.attack, attacked)):
        found = dataset.train.images[nearest(split.images, dataset.train.images)]
        answers = judge.predict(dataclasses.replace(test, images=found))
        right, n = int(np.sum(answers == test.labels)), len(test)
        error = np.mean(np.square(found - split.images))
        print(
            f"attack {name}: {format_share(right / n, *wilson_interval(right, n), n)}, mean squared error to it {error:.4f}"
        )


if __name__ == "__main__":
    main()
