"""ROC of `suspicion` against attackers who know less or more, for a pretrained purifier.

    .venv/bin/python benchmarks/suspicion.py --model=apeganpp/mnist/mnist_cnn --data_dir=DIR

Suspicion is calibrated on validation images. Clean and attacked test images are compared, with the
functions that also fill the table of a report, here on as many images as given:

- grey box: PGD on the classifier alone.
- white box: PGD on purifier and classifier.
- adaptive: targeted PGD on both and on suspicion, see `tfdefense.evaluation.cautious_attack`.

The last line is one JSON object with the findings, see `SuspicionFinding`.
"""

import argparse
import dataclasses
import json
import os
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

from tfdefense import data, zoo
from tfdefense.attacks import PGD, default_epsilon
from tfdefense.evaluation.checks.suspicion_probe import SuspicionProbe
from tfdefense.evaluation.measurements import Measurements
from tfdefense.evaluation.per_image_results import ResultKey
from tfdefense.evaluation.pipelines import evaluated_pipelines
from tfdefense.evaluation.runner import ModelRunner
from tfdefense.evaluation.suspicion_findings import measure_suspicion


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
    runner = ModelRunner(defense.defend(), defense.batch_size)
    pipeline = evaluated_pipelines(runner)[0]
    epsilon = default_epsilon(test.image_shape)
    # Any number of steps covers as much of the ball as those of the adaptive attack.
    relative = 4 / 3 / arguments.steps
    attack = PGD(
        epsilon=epsilon,
        steps=arguments.steps,
        relative_step_size=relative,
        stop_at_success=True,
    )
    attacked = {
        ResultKey(defense.name, "none", "none"): test,
        ResultKey(defense.name, "pgd", "grey_box"): ModelRunner(classifier).attack(attack, test),
        ResultKey(defense.name, "pgd", "white_box"): runner.attack(attack, test),
    }
    measurements = Measurements(defense, test)
    for key, split in attacked.items():
        results = pipeline.apply_detector(split, runner.measure(split, test))
        measurements.add(key, epsilon, results)
    probe = SuspicionProbe(runner, dataset.validation)
    if probe.scale is None:
        sys.exit(f"{arguments.model} changes no image, so it has no suspicion.")
    cautious = probe.attack(test, epsilon, arguments.steps)
    findings = measure_suspicion(measurements, defense.name, probe.scale, cautious)
    result = {"benchmark": "suspicion", "model": arguments.model, "n": len(test)}
    print(json.dumps({**result, "attackers": [dataclasses.asdict(each) for each in findings]}))


if __name__ == "__main__":
    main()
