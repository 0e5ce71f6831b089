"""Sizes of checks that fit the time of a report, from the measured speed of its pipeline."""

import dataclasses
import time
from collections.abc import Callable, Sequence

import numpy as np

from tfdefense.data.core.dataset import Split
from tfdefense.evaluation.checks.attacked_models import AttackedModels
from tfdefense.evaluation.checks.pgd_trace import PGDRun
from tfdefense.evaluation.checks.sizes import CheckSizes, PassSeconds, choose_sizes
from tfdefense.training.distribute import multi_worker

MAX_SHARE = 1 / 3  # Largest share of the seconds of a report that checks may take.
_PLANNED = 0.8  # Share of these seconds that the sizes use up; seconds are predicted within 25 %.
_TIMED_IMAGES = 16
_TIMED_STEPS = 2


@dataclasses.dataclass(frozen=True)
class ProbePlan:
    """Work of the checks of a report, whatever their sizes.

    Attributes:
      probes: keys of `PROBES`.
      withstood: bool [n], images that withstand the attacks of the report.
      attack_seconds: time of the report without checks.
      gradient_seconds: time of one gradient of the classifier in the attacks of the report; None if
        it is unknown.
      spent: seconds that the checks have taken already.
    """

    probes: Sequence[str]
    withstood: np.ndarray
    attack_seconds: float
    gradient_seconds: float | None = None
    spent: float = 0.0


def allowed_seconds(attack_seconds: float) -> float:
    """Return the seconds that checks may take in a report that takes `attack_seconds` without."""
    return attack_seconds * MAX_SHARE / (1 - MAX_SHARE)


def fit_sizes(
    largest: CheckSizes, models: AttackedModels, split: Split, plan: ProbePlan
) -> CheckSizes:
    """Return the largest sizes whose checks take at most `MAX_SHARE` of the seconds of the report.

    All workers get the sizes of the chief.

    Args:
      largest: upper limits.
      models: what is attacked, measured on a few images.
      split: white-box images.
      plan: which probes run, and how long the attacks of the report took.
    """
    start = time.monotonic()
    seconds = _correct(measure_seconds(models, split.take(_TIMED_IMAGES)), plan.gradient_seconds)
    spent = plan.spent + time.monotonic() - start
    planned = _PLANNED * allowed_seconds(plan.attack_seconds) - spent
    probes = [probe for probe in plan.probes if probe != "curve"]  # It takes the time that is left.
    sizes = choose_sizes(largest, planned, seconds, probes, plan.withstood)
    chosen = np.array([[sizes.images, sizes.steps, sizes.draws]], np.int32)
    images, steps, draws = multi_worker.gather_arrays(chosen)[0].tolist()
    return CheckSizes(images, steps, draws, curve=largest.curve)


def _correct(seconds: PassSeconds, gradient_seconds: float | None) -> PassSeconds:
    """Return the seconds of passes in large batches beside other work, like those of the attacks.

    They are longer than measured by as much as a gradient of the classifier took longer in the
    attacks, if it did.
    """
    if gradient_seconds is None:
        return seconds
    slowdown = max(1.0, gradient_seconds / max(seconds.undefended, 1e-9))
    return PassSeconds(*(slowdown * each for each in seconds))


def measure_seconds(models: AttackedModels, few: Split) -> PassSeconds:
    """Return the seconds of passes, measured on warm functions with a few images."""
    run = PGDRun(epsilon=0.1, step_size=0.001, steps=0)
    longer = dataclasses.replace(run, steps=_TIMED_STEPS)
    cold = _duration(lambda: models.pipeline_pgd.run(few, run))
    passes = len(few) * (_TIMED_STEPS + 1)
    gradient = _duration(lambda: models.pipeline_pgd.run(few, longer)) / passes
    models.classifier_pgd.run(few, run)
    undefended = _duration(lambda: models.classifier_pgd.run(few, longer)) / passes
    models.pipeline.predict(few)
    prediction = _duration(lambda: models.pipeline.predict(few)) / len(few)
    return PassSeconds(gradient, prediction, undefended, max(0.0, cold - gradient * len(few)))


def _duration(work: Callable[[], object]) -> float:
    start = time.monotonic()
    work()
    return time.monotonic() - start
