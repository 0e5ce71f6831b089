"""The experiments behind a report's checks: a pipeline attacked in many ways on a few images."""

import functools

import numpy as np
import tensorflow as tf

from tfdefense.attacks import PGD, Square, enable_stop_at_success
from tfdefense.attacks.core import per_image_random
from tfdefense.attacks.core.cleverhans_backend import project_to_ball
from tfdefense.attacks.core.gradients import misclassified
from tfdefense.attacks.core.norms import expand_per_image
from tfdefense.data.core.dataset import Split
from tfdefense.evaluation.checks.pgd_trace import PGDTrace, trace_pgd
from tfdefense.evaluation.runner import ModelRunner
from tfdefense.utils.progress import ProgressBar


class Diagnostics:
    """A pipeline on a few images; each experiment runs once, when it is first asked for.

    Args:
      classifier, pipeline: what is attacked, without and with the defence.
      split: the images, one batch.
      epsilon: radius in L-infinity.
      standing: bool [n], those that withstood the report's white-box attacks of this radius; None where it
        has none, and PGD here is to say.
      draws: random changes of each image; also bounds the queries of the square attack.
      steps: of PGD; together they go as far as 4/3 of epsilon.

    Attributes:
      n, num_classes: of the images.
      long: how many steps are many.
    """

    RESTARTS = 5

    def __init__(
        self,
        classifier: ModelRunner,
        pipeline: ModelRunner,
        split: Split,
        epsilon: float,
        standing: np.ndarray | None,
        draws: int,
        steps: int,
    ) -> None:
        self.classifier = classifier
        self.pipeline = pipeline
        self.split = split
        self.epsilon = epsilon
        self.draws = draws
        self.steps, self.long = steps, 5 * steps // 2
        self.step_size = 4 / 3 / steps
        self.queries = min(1_000, draws)
        self.n = len(split)
        self.num_classes = split.num_classes
        self._given = standing
        self._progress: ProgressBar | None = None

    def ascend(self) -> "Diagnostics":
        """Runs all ascents now, under one progress bar."""
        with ProgressBar(f"checks on {self.pipeline.model.name}", self._passes()) as self._progress:
            for name in ("usual", "single", "coarse", "fine", "longer", "restarted", "curve"):
                getattr(self, name)
        self._progress = None
        return self

    @functools.cached_property
    def standing(self) -> np.ndarray:
        """bool [n]: withstands the report's white-box attacks."""
        return self._given[: self.n] if self._given is not None else ~self._fell(self.usual)

    @functools.cached_property
    def usual(self) -> PGDTrace:
        """PGD as reports use it, from the images themselves."""
        return self._ascend(self.epsilon, self.step_size, self.steps, 0)

    @functools.cached_property
    def longer(self) -> np.ndarray:
        """bool [n]: falls to many steps; as do the following to what they say."""
        return self._fell(self._ascend(self.epsilon, self.step_size, self.long, 1))

    @functools.cached_property
    def restarted(self) -> np.ndarray:
        starts = range(1, 1 + self.RESTARTS)
        runs = [self._ascend(self.epsilon, self.step_size, self.steps, start) for start in starts]
        return np.any([self._fell(run) for run in runs], axis=0)

    @functools.cached_property
    def single(self) -> np.ndarray:
        return self._fell(self._ascend(self.epsilon, 1.0, 1, 0))

    @functools.cached_property
    def coarse(self) -> np.ndarray:
        return self._fell(self._ascend(self.epsilon, 1 / 4, self.steps, 1))

    @functools.cached_property
    def fine(self) -> np.ndarray:
        return self._fell(self._ascend(self.epsilon, self.step_size / 4, self.steps, 0))

    @functools.cached_property
    def curve(self) -> dict[str, list[float]]:
        """Accuracy over "epsilon": "undefended", "grey_box" and "white_box"."""
        found: dict[str, list[float]] = {"epsilon": self._radii()}
        labels = self.split.labels
        for epsilon in found["epsilon"]:
            crafted = self.split
            if epsilon > 0:
                crafted = self.classifier.attack(PGD(epsilon=epsilon), self.split, quiet=True)
            steps = self.steps if epsilon > 0 else 1
            white = self._ascend(epsilon, self.step_size, steps, 1)
            shares = {
                "undefended": self.classifier.predict(crafted) == labels,
                "grey_box": self.pipeline.predict(crafted) == labels,
                "white_box": ~self._fell(white),
            }
            for name, right in shares.items():
                found.setdefault(name, []).append(float(right.mean()))
        return found

    def square_fell(self) -> np.ndarray:
        """bool [m]: of the standing images, those that the square attack fools."""
        if not self.standing.any():
            return np.zeros(0, bool)
        standing = self.split.select(np.flatnonzero(self.standing))
        attack = enable_stop_at_success(Square(epsilon=self.epsilon, queries=self.queries))
        return self.pipeline.predict(self.pipeline.attack(attack, standing)) != standing.labels

    def noise_fell(self) -> np.ndarray:
        """bool [m]: of the standing images, those that a random change fools."""
        fell = np.zeros(int(self.standing.sum()), bool)
        if len(fell) == 0:
            return fell
        standing = self.split.select(np.flatnonzero(self.standing))
        images, labels = tf.constant(standing.images), tf.constant(standing.labels)
        progress = ProgressBar(f"random noise on {self.pipeline.model.name}", self.draws * len(fell))
        at_once = max(1, self.pipeline.batch_size // len(fell))
        for first in range(0, self.draws, at_once):
            fell |= self._noise(images, labels, tf.range(first, min(first + at_once, self.draws)))
            progress.advance(at_once * len(fell))
        progress.close()
        return fell

    def batch_dependence(self) -> tuple[int, float]:
        """How many images are classified otherwise alone than together; the relative change of logits."""
        together = self.pipeline.ask(self.pipeline.model, self.split)
        alone = np.concatenate(
            [
                self.pipeline.ask(self.pipeline.model, self.split.select(np.array([row])))
                for row in range(self.n)
            ]
        )
        changed = np.argmax(together, axis=-1) != np.argmax(alone, axis=-1)
        return int(changed.sum()), float(np.abs(together - alone).max() / np.abs(together).max())

    def _radii(self) -> list[float]:
        factors = (0, 0.25, 0.5, 1, 1.5, 2)
        return sorted({min(1.0, round(factor * self.epsilon, 6)) for factor in factors} | {1.0})

    def _passes(self) -> int:
        whole = 1 + self.RESTARTS + 2 + len(self._radii()) - 1
        return (whole * self.steps + self.long + 2) * self.n

    def _fell(self, watched: PGDTrace) -> np.ndarray:
        return watched.fell_at < len(watched.losses)

    def _ascend(self, epsilon: float, relative_step_size: float, steps: int, start: int) -> PGDTrace:
        found = self._compiled(
            tf.constant(self.split.images),
            tf.constant(self.split.labels, tf.int32),
            tf.constant(epsilon, tf.float32),
            tf.constant(epsilon * relative_step_size, tf.float32),
            tf.constant(steps),
            tf.constant(start),
        )
        if self._progress is not None:
            self._progress.advance(steps * self.n)
        return PGDTrace(*(tensor.numpy() for tensor in found))

    @functools.cached_property
    def _compiled(self) -> tf.types.experimental.GenericFunction:
        return tf.function(functools.partial(trace_pgd, self.pipeline.model), autograph=False)

    def _noise(self, images: tf.Tensor, labels: tf.Tensor, numbers: tf.Tensor) -> np.ndarray:
        return self._compiled_noise(images, labels, numbers).numpy()

    @functools.cached_property
    def _compiled_noise(self) -> tf.types.experimental.GenericFunction:
        """(images [m, H, W, C], labels [m], numbers [d]) -> bool [m]: whether one of these d draws fools it."""
        model, epsilon = self.pipeline.model, self.epsilon

        def fell(images: tf.Tensor, labels: tf.Tensor, numbers: tf.Tensor) -> tf.Tensor:
            count, draws_each = tf.shape(images)[0], tf.shape(numbers)[0]
            numbers = tf.repeat(numbers, count)
            many = tf.tile(images, [draws_each, 1, 1, 1])
            keys = per_image_random.image_keys(many, seed=1) + tf.cast(numbers, tf.uint32)
            box = 2 * per_image_random.uniform(keys, list(images.shape[1:]), stream=0) - 1
            # Inside of the ball and its corners by turns.
            box = tf.where(expand_per_image(numbers % 2 == 0), box, tf.sign(box))
            noisy = project_to_ball(many + epsilon * box, many, epsilon)
            wrong = misclassified(model(noisy), tf.tile(labels, [draws_each]))
            return tf.reduce_any(tf.reshape(wrong, [draws_each, count]), axis=0)

        return tf.function(fell, autograph=False, reduce_retracing=True)
