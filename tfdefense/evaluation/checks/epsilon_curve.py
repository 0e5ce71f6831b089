"""Accuracy over the radius of the attack: undefended, grey box and white box."""

import dataclasses
import time
from collections.abc import Callable, Iterable, Iterator

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


def radii_in_time(epsilon: float, has_time: Callable[[float], bool]) -> Iterator[float]:
    """Yield the radii of the curve in ascending order, as long as there is time for another one.

    Args:
      epsilon: radius of the report.
      has_time: seconds that the next radius may take -> whether so many are left.
    """
    longest = 0.0
    for radius in curve_radii(epsilon):
        if not has_time(longest):
            return
        start = time.monotonic()
        yield radius
        longest = max(longest, time.monotonic() - start)


def measure_curve(
    models: AttackedModels,
    split: Split,
    radii: Iterable[float],
    steps: int,
    fooled_by_white_box: Callable[[float], np.ndarray],
) -> AccuracyCurve:
    """Return accuracies "undefended", "grey_box" and "white_box" at each radius of "epsilon".

    Undefended and grey box are under `attacks.PGD` on the classifier.

    Args:
      models: what is attacked.
      split: the images.
      radii: radii in [0, 1].
      steps: steps of PGD.
      fooled_by_white_box: radius -> bool [n], images that PGD on the pipeline fools.
    """
    curve: AccuracyCurve = {}
    for radius in radii:
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
        curve.setdefault("epsilon", []).append(radius)
        for name, are_correct in correct.items():
            curve.setdefault(name, []).append(float(are_correct.mean()))
    return curve
