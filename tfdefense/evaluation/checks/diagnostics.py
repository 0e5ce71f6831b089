"""Further attacks on a few images, which the checks of a report examine."""

import dataclasses
import functools
import math
import time

import numpy as np

from tfdefense.attacks import Square, enable_stop_at_success
from tfdefense.data.core.dataset import Split
from tfdefense.evaluation.checks import stability
from tfdefense.evaluation.checks.attacked_models import AttackedModels
from tfdefense.evaluation.checks.epsilon_curve import AccuracyCurve, measure_curve, radii_in_time
from tfdefense.evaluation.checks.inference_graph import InferenceGraph, inspect_graph
from tfdefense.evaluation.checks.pgd_trace import CLEAN_START, PGDRun, PGDTrace, PGDTracer
from tfdefense.evaluation.checks.probe_progress import ProbeProgress
from tfdefense.evaluation.checks.random_search import RandomSearch
from tfdefense.evaluation.checks.sizes import RESTARTS, CheckSizes
from tfdefense.evaluation.checks.surrogate_pipeline import SurrogatePipeline
from tfdefense.training.distribute import multi_worker


class Diagnostics:
    """Probes of a pipeline; each one runs when it is first needed.

    Probes that look for what the attacks of the report missed run only on the images that withstand
    those attacks.

    Args:
      models: what is attacked.
      split: a few images.
      epsilon: L-infinity radius.
      sizes: effort.
      withstood: bool [>= n], images that withstand the white-box L-infinity attacks of the report;
        None if it has none with a radius. Probes for what these attacks missed then cannot run.

    Attributes:
      n, num_classes: of the images.
      progress: told about each probe.
      deadline: `time.monotonic()` after which the accuracy curve has no further radii.
    """

    def __init__(
        self,
        models: AttackedModels,
        split: Split,
        epsilon: float,
        sizes: CheckSizes,
        withstood: np.ndarray | None = None,
    ) -> None:
        self.models, self.pipeline = models, models.pipeline
        self.split = split
        self.epsilon, self.sizes = epsilon, sizes
        self.n = len(split)
        self.num_classes = split.num_classes
        self.progress = ProbeProgress()
        self.deadline = math.inf
        self._given = withstood

    @property
    def withstood(self) -> np.ndarray:
        """Images that withstand the white-box L-infinity attacks of the report, bool [n]."""
        assert self._given is not None, "the report has no L-infinity attack with a radius"
        return self._given[: self.n]

    @property
    def has_bounded_attacks(self) -> bool:
        """True if the report has white-box L-infinity attacks with a radius."""
        return self._given is not None

    @functools.cached_property
    def trace(self) -> PGDTrace:
        """PGD with the usual number of steps, from the clean images."""
        with self.progress.probe("trace"):
            run = PGDRun(self.epsilon, self.step_size, self.sizes.steps)
            return self.models.pipeline_pgd.run(self.split, run)

    @functools.cached_property
    def missed_by_step_size(self) -> dict[str, int]:
        """Step size -> number of images that withstand the attacks, but not PGD with this step size."""
        epsilon, steps = self.epsilon, self.sizes.steps
        runs = {
            "one step of length epsilon": PGDRun(epsilon, epsilon, 1),
            "steps of epsilon / 4": PGDRun(epsilon, epsilon / 4, steps, start=1),
            "steps a quarter as long": PGDRun(epsilon, self.step_size / 4, steps),
        }
        with self.progress.probe("step_sizes"):
            return {name: self._count_missed(run) for name, run in runs.items()}

    @functools.cached_property
    def missed_by_effort(self) -> tuple[int, int]:
        """Numbers of images that withstand the attacks, but not more steps or not more restarts."""
        usual = PGDRun(self.epsilon, self.step_size, self.sizes.steps)
        more_steps = dataclasses.replace(usual, steps=self.sizes.many_steps, start=1)
        restarts = [dataclasses.replace(usual, start=1 + number) for number in range(RESTARTS)]
        with self.progress.probe("more_effort"):
            return self._count_missed(more_steps), self._count_missed(*restarts)

    @functools.cached_property
    def missed_by_margin_loss(self) -> int:
        """Number of images that withstand the attacks, but not PGD on the margin loss."""
        usual = PGDRun(self.epsilon, self.step_size, self.sizes.steps, margin_loss=True)
        runs = [dataclasses.replace(usual, start=start) for start in (CLEAN_START, 1)]
        with self.progress.probe("margin_loss"):
            return self._count_missed(*runs)

    @functools.cached_property
    def missed_by_square(self) -> int:
        """Number of images that withstand the attacks, but not the square attack."""
        with self.progress.probe("square"):
            if not self.withstood.any():
                return 0
            standing = self._standing()
            attack = enable_stop_at_success(
                Square(epsilon=self.epsilon, queries=self.sizes.queries)
            )
            attacked = self.pipeline.attack(attack, standing, show_progress=False)
            return int(np.sum(self.pipeline.predict(attacked) != standing.labels))

    @functools.cached_property
    def missed_by_noise(self) -> int:
        """Number of images that withstand the attacks, but not random noise."""
        with self.progress.probe("noise") as advance:
            if not self.withstood.any():
                return 0
            search = RandomSearch(self.pipeline, self.epsilon, self.sizes.draws)
            return int(search.fooled(self._standing(), advance).sum())

    @functools.cached_property
    def surrogate_only(self) -> tuple[int, int] | None:
        """Images that withstand the attacks, and are attacked through the surrogate of the pipeline.

        The number of them that the surrogate classifies correctly, and how many of these PGD turns
        into images that fool the surrogate but not the pipeline. None if there is no surrogate.
        """
        with self.progress.probe("surrogate"):
            if not self.has_declared_gradient:
                return None
            if not self.withstood.any():
                return 0, 0
            surrogate = PGDTracer(SurrogatePipeline(self.pipeline.model), self.pipeline.batch_size)
            standing = self._standing()
            run = PGDRun(self.epsilon, self.step_size, self.sizes.steps)
            trace = surrogate.run(standing, run)
            attacked = dataclasses.replace(standing, images=trace.last)
            is_right = ~trace.fooled[0]
            resists = self.pipeline.predict(attacked) == standing.labels
            return int(is_right.sum()), int(np.sum(is_right & trace.fooled[-1] & resists))

    @functools.cached_property
    def has_declared_gradient(self) -> bool:
        """True if a step of the pipeline has a gradient that `bpda` declares."""
        return SurrogatePipeline(self.pipeline.model).differs(self.split.image_shape)

    @functools.cached_property
    def fooled_without_bound(self) -> np.ndarray:
        """Images that PGD fools with epsilon 1, bool [n]."""
        with self.progress.probe("unbounded"):
            return self._fooled_by_pgd(1.0)

    @functools.cached_property
    def epsilon_curve(self) -> AccuracyCurve:
        """Accuracies at several radii; empty if there is no time, or the sizes leave it out."""
        if not self.sizes.curve:
            return {}
        with self.progress.probe("curve"):
            radii = radii_in_time(self.epsilon, self._has_time)
            return measure_curve(self.models, self.split, radii, self.sizes.steps, self._fooled_at)

    @functools.cached_property
    def rounding(self) -> tuple[int, int]:
        """Number of images that PGD fools, and of those that no longer fool after rounding to 8 bits."""
        fooled = np.flatnonzero(self.trace.fooled[-1])
        with self.progress.probe("rounding"):
            if not len(fooled):
                return 0, 0
            split = self.split.select(fooled)
            attacked = self.trace.last[fooled]
            rounded = dataclasses.replace(split, images=stability.round_to_levels(attacked))
            return len(fooled), int(np.sum(self.pipeline.predict(rounded) == split.labels))

    @functools.cached_property
    def batch_dependence(self) -> tuple[int, float]:
        """See `stability.compare_alone`."""
        with self.progress.probe("single_images"):
            return stability.compare_alone(self.pipeline, self.split)

    @functools.cached_property
    def repetition(self) -> tuple[int, float]:
        """See `stability.compare_repeated`."""
        with self.progress.probe("repeats"):
            return stability.compare_repeated(self.pipeline, self.split)

    @functools.cached_property
    def margin_change(self) -> np.ndarray:
        """See `stability.margin_change`; the radius of the noise is the length of a step of PGD."""
        with self.progress.probe("small_noise"):
            return stability.margin_change(self.pipeline, self.split, self.step_size)

    @functools.cached_property
    def inference_graph(self) -> InferenceGraph:
        """Random numbers and loops in the graph of the pipeline."""
        return inspect_graph(self.pipeline.model, self.split.image_shape)

    def _has_time(self, seconds: float) -> bool:
        """Return whether so many seconds are left before the deadline; all workers agree."""
        left = np.array([self.deadline - time.monotonic() >= seconds], np.int32)
        return bool(multi_worker.gather_arrays(left)[0])

    @property
    def step_size(self) -> float:
        """Length of a usual step of PGD, in units of the images."""
        return 4 / 3 / self.sizes.steps * self.epsilon

    def _fooled_at(self, radius: float) -> np.ndarray:
        """Return bool [n]: images that PGD fools with this radius."""
        return self.fooled_without_bound if radius == 1 else self._fooled_by_pgd(radius)

    def _fooled_by_pgd(self, radius: float) -> np.ndarray:
        steps = self.sizes.steps if radius > 0 else 1
        run = PGDRun(radius, 4 / 3 / self.sizes.steps * radius, steps, start=1)
        return self.models.pipeline_pgd.fooled(self.split, run)

    def _standing(self) -> Split:
        return self.split.select(np.flatnonzero(self.withstood))

    def _count_missed(self, *runs: PGDRun) -> int:
        """Return the number of images that withstand the attacks, but not at least one of the runs."""
        left = np.flatnonzero(self.withstood)
        for run in runs:
            if len(left):
                fooled = self.models.pipeline_pgd.fooled(self.split.select(left), run)
                left = left[~fooled]
        return int(self.withstood.sum()) - len(left)
