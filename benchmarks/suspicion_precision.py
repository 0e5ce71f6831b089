"""Changes of `suspicion` in exports of 16 bits, for a pretrained purifier.

    .venv/bin/python benchmarks/suspicion_precision.py --model=apeganpp/mnist/mnist_cnn --data_dir=DIR

Exports the purifier in float32, float16 and bfloat16, calibrated on the same validation images, and
compares the suspicion of test images: clean, and attacked on the classifier alone by PGD with
ten steps of epsilon / 30. An alarm is a suspicion of 0.99 or more. The last line is one JSON object.
"""

import argparse
import json
import os
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import numpy as np

from tfdefense import data, zoo
from tfdefense.attacks import PGD, default_epsilon
from tfdefense.serving import ModelFacts, Variant, export, open_model

ALARM = np.float32(0.99)


def measure_suspicion(defense, facts, precision, groups):
    """Return name -> suspicion of each image, by an export."""
    with tempfile.TemporaryDirectory() as scratch:
        served = open_model(
            export(defense, Path(scratch) / "model", Variant(precision=precision), facts=facts)
        )
        return {
            name: served.predict("serving_default", images)["suspicion"]
            for name, images in groups.items()
        }


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", default="apeganpp/mnist/mnist_cnn")
    parser.add_argument("--data_dir")
    parser.add_argument("--images", type=int, default=500)
    arguments = parser.parse_args()
    pretrained = zoo.load(arguments.model)
    classifier = pretrained.classifier()
    dataset = data.load(arguments.model.split("/")[1], arguments.data_dir)
    test = dataset.test.take(arguments.images)
    attack = PGD(epsilon=default_epsilon(test.image_shape), steps=10)
    attacked = np.asarray(attack(classifier, test.images, test.labels))
    groups = {"clean": test.images[:], "grey box": attacked}
    facts = ModelFacts(validation_images=dataset.validation)
    found = {
        precision: measure_suspicion(pretrained.before(classifier), facts, precision, groups)
        for precision in ("float32", "float16", "bfloat16")
    }
    moves = {}
    for precision in ("float16", "bfloat16"):
        for name, exact in found["float32"].items():
            other = found[precision][name]
            differences = np.abs(other - exact)
            moves[f"{precision}, {name}"] = {
                "n": len(exact),
                "p99": round(float(np.quantile(differences, 0.99)), 4),
                "largest": round(float(differences.max()), 4),
                "same_alarm": int(np.sum((exact >= ALARM) == (other >= ALARM))),
            }
    print(json.dumps({"benchmark": "suspicion_precision", "model": arguments.model, **moves}))


if __name__ == "__main__":
    main()
