"""Accuracy over the radius of the attack: undefended, grey box and white box."""

import dataclasses
from collections.abc import Callable

import numpy as np

from tfdefense.data.core.dataset import Split
from tfdefense.evaluation.checks.attacked_models import AttackedModels
from tfdefense.evaluation.checks.pgd_trace import PGDRun
from tfdefense.evaluation.checks.sizes import CURVE_FACTORS

AccuracyCurve = dict[str, list[float]]


def curve_radii(epsilon: float) -> list[float]:
    """Return the radii of the curve in ascending order; the last one is 1."""
    radii = {min(1.0, round(factor * epsilon, 6)) for factor in CURVE_FACTORS}
    return sorted(radii | {1.0})


def measure_curve(
    models: AttackedModels,
    split: Split,
    epsilon: float,
    steps: int,
    fooled_by_white_box: Callable[[float], np.ndarray],
) -> AccuracyCurve:
    """Return accuracies "undefended", "grey_box" and "white_box" at each radius of "epsilon".

    Undefended and grey box are under `attacks.PGD` on the classifier.

    Args:
      models: what is attacked.
      split: the images.
      epsilon: radius of the report, around which the radii of the curve are.
      steps: steps of PGD.
      fooled_by_white_box: radius -> bool [n], images that PGD on the pipeline fools.
    """
    curve: AccuracyCurve = {"epsilon": curve_radii(epsilon)}
    for radius in curve["epsilon"]:
        attacked = split
        if radius > 0:
            run = PGDRun(radius, 4 / 3 / steps * radius, steps, start=0)
            images = models.classifier_pgd.run(split, run).last
            attacked = dataclasses.replace(split, images=images)
        correct = {
            "undefended": models.classifier.predict(attacked) == split.labels,
            "grey_box": models.pipeline.predict(attacked) == split.labels,
            "white_box": ~fooled_by_white_box(radius),
        }
        for name, images in correct.items():
            curve.setdefault(name, []).append(float(images.mean()))
    return curve
