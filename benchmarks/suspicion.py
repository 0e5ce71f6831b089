"""ROC of `suspicion` against attackers who know less or more, for a pretrained purifier.

    .venv/bin/python benchmarks/suspicion.py --model=apeganpp/mnist/mnist_cnn --data_dir=DIR

Suspicion is calibrated on validation images. Clean and attacked test images are compared:

- grey box: PGD on the classifier alone.
- white box: PGD on purifier and classifier.
- adaptive: targeted PGD on both and on the change by purifying. A further logit is above all others
  exactly where the change exceeds that of 90 % of the clean images, as `RejectingClassifier` does
  for detectors (Carlini, Wagner, AISec 2017). The target is the likeliest wrong class.

For each attacker: the share of images that are misclassified, the area under the ROC curve with the
95 % interval of Hanley and McNeil (Radiology 1982), also for the L1 and L-infinity norm of the
change, and the shares of images at 0.99 or above and of those misclassified below it. The last line
is one JSON object.
"""

import argparse
import json
import math
import os
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import numpy as np
import tensorflow as tf
from sklearn.metrics import roc_auc_score

from tfdefense import data, zoo
from tfdefense.attacks import PGD, default_epsilon
from tfdefense.defenses.core.suspicion import calibrate_suspicion
from tfdefense.evaluation.detection import labelled_scores
from tfdefense.evaluation.per_image_results import NORMS, perturbation_norms
from tfdefense.evaluation.runner import ModelRunner

ALARM = np.float32(0.99)


class CautiousTarget:
    """Pipeline with one more logit, the highest one where purifying changes an image too much.

    Args:
      pipeline: purifier and classifier.
      limit: L2 norm of the change from which it is too much.
    """

    def __init__(self, pipeline, limit):
        self.pipeline, self.limit = pipeline, limit
        self.name = f"{pipeline.name}, suspicion included"

    def __call__(self, images):
        purified, logits = self.pipeline.purify_and_classify(images)
        squares = tf.reduce_sum(tf.square(purified - images), axis=(1, 2, 3))
        excess = 0.5 * tf.math.log(squares + 1e-12) - math.log(self.limit)
        # Ten logits for a change of twice the limit, which is as much as a classifier's margin.
        suspected = tf.reduce_max(logits, axis=-1) + 10 / math.log(2) * excess
        return tf.concat([logits, suspected[:, tf.newaxis]], axis=-1)


def area_with_interval(clean, attacked):
    """Return the area under the ROC curve and its 95 % interval: (area, low, high)."""
    area = float(roc_auc_score(*labelled_scores(clean, attacked)))
    q1, q2 = area / (2 - area), 2 * area**2 / (1 + area)
    n, m = len(clean), len(attacked)
    variance = area * (1 - area) + (m - 1) * (q1 - area**2) + (n - 1) * (q2 - area**2)
    margin = 1.96 * math.sqrt(max(variance, 0) / (n * m))
    return area, max(area - margin, 0.0), min(area + margin, 1.0)


def measure(runner, scale, split):
    """Return predictions [n], suspicion [n] and norms of the change [n, 3]."""

    def values(images):
        purified, logits = runner.model.purify_and_classify(images)
        return tf.argmax(logits, -1), perturbation_norms(purified - images)

    predicted, norms = runner.run_batches(values, split)
    return predicted, scale(norms[:, NORMS.index("l2")]).numpy(), norms


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", default="apeganpp/mnist/mnist_cnn")
    parser.add_argument("--data_dir")
    parser.add_argument("--images", type=int, default=500)
    parser.add_argument("--steps", type=int, default=40)
    arguments = parser.parse_args()
    pretrained = zoo.load(arguments.model)
    classifier = pretrained.classifier()
    defense = pretrained.before(classifier)
    dataset = data.load(arguments.model.split("/")[1], arguments.data_dir)
    test = dataset.test.take(arguments.images)
    scale = calibrate_suspicion(defense, dataset.validation)
    pipeline = defense.defend()
    runner = ModelRunner(pipeline)
    attack = PGD(epsilon=default_epsilon(test.image_shape), steps=arguments.steps)
    logits = runner.run_batches(pipeline, test)
    logits[np.arange(len(test)), test.labels] = -np.inf
    cautious = CautiousTarget(pipeline, float(np.quantile(scale.changes, 0.9)))
    attacked = {
        "none": test,
        "grey box": ModelRunner(classifier).attack(attack, test),
        "white box": runner.attack(attack, test),
        "adaptive": ModelRunner(cautious).attack(attack, test, logits.argmax(-1).astype(np.int32)),
    }
    _, clean_suspicion, clean_norms = measure(runner, scale, test)
    rows = {}
    for name, split in attacked.items():
        predicted, suspicion, norms = measure(runner, scale, split)
        is_wrong, is_alarm = predicted != test.labels, suspicion >= ALARM
        rows[name] = {
            "misclassified": float(is_wrong.mean()),
            "auc": [round(each, 3) for each in area_with_interval(clean_suspicion, suspicion)],
            "auc_by_norm": {
                norm: round(area_with_interval(clean_norms[:, i], norms[:, i])[0], 3)
                for i, norm in enumerate(NORMS)
            },
            "alarms": float(is_alarm.mean()),
            "misclassified_without_alarm": float(np.mean(is_wrong & ~is_alarm)),
        }
        print(f"{name}: {rows[name]}")
    result = {"benchmark": "suspicion", "model": arguments.model, "n": len(test)}
    print(json.dumps({**result, "calibrated_on": len(scale), "attackers": rows}))


if __name__ == "__main__":
    main()
