"""Further attacks on a few images, which the checks of a report examine."""

import dataclasses
import functools

import numpy as np
import tensorflow as tf

from tfdefense.attacks import PGD, Square, enable_stop_at_success
from tfdefense.data.core.dataset import Split
from tfdefense.evaluation.checks.pgd_trace import PGDParameters, PGDTrace, trace_pgd
from tfdefense.evaluation.checks.random_search import RandomSearch
from tfdefense.evaluation.runner import ModelRunner, RunnableModel
from tfdefense.utils.progress import ProgressBar

_CURVE_FACTORS = (0, 0.25, 0.5, 1, 1.5, 2)  # Radii of the accuracy curve, in units of epsilon.
_MAX_QUERIES = 1_000


@dataclasses.dataclass(frozen=True)
class DiagnosticsConfig:
    """Effort of the diagnostics.

    Attributes:
      epsilon: L-infinity radius.
      noise_draws: random perturbations of each image; also the largest number of queries of Square.
      steps: steps of PGD. Their total length is 4/3 epsilon.
    """

    epsilon: float
    noise_draws: int
    steps: int


class Diagnostics:
    """Attacks on a pipeline; each one runs when it is first needed.

    Args:
      classifier, pipeline: run the classifier without and with the defence.
      split: a few images, which run as one batch.
      config: effort.
      withstood: bool [>= n], images that withstand the white-box attacks of the report with this
        radius; None if it has none, so that PGD decides.

    Attributes:
      n, num_classes: of the images.
      many_steps: number of steps of the longer PGD.
      max_queries: largest number of queries of Square.
    """

    RESTARTS = 5

    def __init__(
        self,
        classifier: ModelRunner[RunnableModel],
        pipeline: ModelRunner[RunnableModel],
        split: Split,
        config: DiagnosticsConfig,
        withstood: np.ndarray | None = None,
    ) -> None:
        self.classifier = classifier
        self.pipeline = pipeline
        self.split = split
        self.epsilon = config.epsilon
        self.noise_draws = config.noise_draws
        self.steps, self.many_steps = config.steps, 5 * config.steps // 2
        self.max_queries = min(_MAX_QUERIES, config.noise_draws)
        self.n = len(split)
        self.num_classes = split.num_classes
        self._step_size = 4 / 3 / config.steps  # In units of epsilon.
        self._given = withstood
        self._progress: ProgressBar | None = None

    def run_attacks(self) -> None:
        """Run all PGD attacks now, under one progress bar."""
        title = f"checks on {self.pipeline.model.name}"
        with ProgressBar(title, self._total_passes()) as self._progress:
            _ = (
                self.trace,
                self.fooled_by_single_step,
                self.fooled_by_large_steps,
                self.fooled_by_small_steps,
                self.fooled_by_many_steps,
                self.fooled_by_restarts,
                self.epsilon_curve,
            )
        self._progress = None

    @functools.cached_property
    def withstood(self) -> np.ndarray:
        """Images that withstand the white-box attacks of the report, bool [n]."""
        return self._given[: self.n] if self._given is not None else ~_is_fooled(self.trace)

    @functools.cached_property
    def trace(self) -> PGDTrace:
        """PGD with the usual number of steps, from the clean images."""
        return self._trace(self.epsilon, self._step_size, self.steps, start=0)

    @functools.cached_property
    def fooled_by_many_steps(self) -> np.ndarray:
        """Images that PGD with more steps fools, bool [n]."""
        return _is_fooled(self._trace(self.epsilon, self._step_size, self.many_steps, start=1))

    @functools.cached_property
    def fooled_by_restarts(self) -> np.ndarray:
        """Images that PGD fools from at least one of several random starts, bool [n]."""
        starts = range(1, 1 + self.RESTARTS)
        traces = [self._trace(self.epsilon, self._step_size, self.steps, each) for each in starts]
        return np.any([_is_fooled(trace) for trace in traces], axis=0)

    @functools.cached_property
    def fooled_by_single_step(self) -> np.ndarray:
        """Images that one step of length epsilon fools, bool [n]."""
        return _is_fooled(self._trace(self.epsilon, 1.0, 1, start=0))

    @functools.cached_property
    def fooled_by_large_steps(self) -> np.ndarray:
        """Images that PGD with steps of a quarter of epsilon fools, bool [n]."""
        return _is_fooled(self._trace(self.epsilon, 1 / 4, self.steps, start=1))

    @functools.cached_property
    def fooled_by_small_steps(self) -> np.ndarray:
        """Images that PGD with steps a quarter as long as usual fools, bool [n]."""
        return _is_fooled(self._trace(self.epsilon, self._step_size / 4, self.steps, start=0))

    @functools.cached_property
    def epsilon_curve(self) -> dict[str, list[float]]:
        """Accuracies "undefended", "grey_box" and "white_box" at each radius of "epsilon"."""
        curve: dict[str, list[float]] = {"epsilon": self._curve_radii()}
        labels = self.split.labels
        for epsilon in curve["epsilon"]:
            attacked = self.split
            if epsilon > 0:
                attack = PGD(epsilon=epsilon)
                attacked = self.classifier.attack(attack, self.split, show_progress=False)
            steps = self.steps if epsilon > 0 else 1
            white_box = self._trace(epsilon, self._step_size, steps, start=1)
            correct = {
                "undefended": self.classifier.predict(attacked) == labels,
                "grey_box": self.pipeline.predict(attacked) == labels,
                "white_box": ~_is_fooled(white_box),
            }
            for name, images in correct.items():
                curve.setdefault(name, []).append(float(images.mean()))
        return curve

    def fooled_by_square(self) -> np.ndarray:
        """Return, of the m images that withstand the attacks, those that Square fools, bool [m]."""
        if not self.withstood.any():
            return np.zeros(0, bool)
        standing = self._standing()
        attack = enable_stop_at_success(Square(epsilon=self.epsilon, queries=self.max_queries))
        return self.pipeline.predict(self.pipeline.attack(attack, standing)) != standing.labels

    def fooled_by_noise(self) -> np.ndarray:
        """Return, of the m images that withstand the attacks, those that random noise fools, bool [m]."""
        if not self.withstood.any():
            return np.zeros(0, bool)
        search = RandomSearch(self.pipeline, self.epsilon, self.noise_draws)
        return search.fooled(self._standing())

    def batch_dependence(self) -> tuple[int, float]:
        """Compare each image alone with the whole batch.

        Returns:
          The number of images whose class changes, and the largest difference of two logits in units
          of the largest logit.
        """
        model, run = self.pipeline.model, self.pipeline.run_batches
        together = run(model, self.split)
        alone = np.concatenate(
            [run(model, self.split.select(np.array([row]))) for row in range(self.n)]
        )
        changed = np.argmax(together, axis=-1) != np.argmax(alone, axis=-1)
        return int(changed.sum()), float(np.abs(together - alone).max() / np.abs(together).max())

    def _standing(self) -> Split:
        return self.split.select(np.flatnonzero(self.withstood))

    def _curve_radii(self) -> list[float]:
        radii = {min(1.0, round(factor * self.epsilon, 6)) for factor in _CURVE_FACTORS}
        return sorted(radii | {1.0})

    def _total_passes(self) -> int:
        full = 1 + self.RESTARTS + 2 + len(self._curve_radii()) - 1
        return (full * self.steps + self.many_steps + 2) * self.n

    def _trace(self, epsilon: float, relative_step_size: float, steps: int, start: int) -> PGDTrace:
        """Run PGD with steps of length `relative_step_size * epsilon`."""
        parameters = PGDParameters(
            tf.constant(epsilon, tf.float32),
            tf.constant(epsilon * relative_step_size, tf.float32),
            tf.constant(steps),
            tf.constant(start),
        )
        images, labels = self.split.images, self.split.labels
        trace = self._compiled_trace(tf.constant(images), tf.constant(labels, tf.int32), parameters)
        if self._progress is not None:
            self._progress.advance(steps * self.n)
        return PGDTrace(*(tensor.numpy() for tensor in trace))

    @functools.cached_property
    def _compiled_trace(self) -> tf.types.experimental.GenericFunction:
        return tf.function(functools.partial(trace_pgd, self.pipeline.model), autograph=False)


def _is_fooled(trace: PGDTrace) -> np.ndarray:
    """Return bool [n]: images that are misclassified at some step of a trace."""
    return trace.fooled_at < len(trace.losses)
